/** Stapling of OCSP responses under each policy: a CA of openssl signs them, and `openssl s_client -status` asks for them. */
import assert from 'node:assert/strict';
import { copyFileSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { CertificateFactory } from '../support/certificates.ts';
import { type Json, type ProxyProcess, spawnProxy, startProxy, until } from '../support/proxy_process.ts';
import { bootstrap, http, listener } from './support/config.ts';
import { ocspClient, ocspResponse, serialOf } from './support/ocsp.ts';
import { downstreamTls, files } from './support/tls.ts';

const certificates = new CertificateFactory();
const { directory } = certificates;
const ca = certificates.make('test ca', { isCa: true });
const of = (name: string, type: 'ec' | 'rsa' = 'ec', extensions: string[] = []) =>
  certificates.make(name, { san: `DNS:${name}`, issuer: ca, type, extensions });
const plain = of('plain.example');
const elliptic = of('both.example');
const rsa = of('both.example', 'rsa');
const wildcard = of('*.example');
const must = of('must.example', 'ec', ['tlsfeature=status_request']);

const fresh = ocspResponse(directory, ca, [plain]);
const stale = ocspResponse(directory, ca, [plain], 'yesterday');
const withStaple = (certificate: Parameters<typeof files>[0], file: string): Json => ({
  ...files(certificate),
  ocsp_staple: { filename: file },
});

function tlsListener(name: string, certs: Json[], policy: string | null, extra: Json = {}): Json {
  const routes = [{ match: { prefix: '/' }, direct_response: { status: 200, body: { inline_string: name } } }];
  const transport = downstreamTls(certs, {}, { ...(policy === null ? {} : { ocsp_staple_policy: policy }), ...extra });
  return listener(name, [], { filter_chains: [{ filters: [http(name, routes)], transport_socket: transport }] });
}

const STRICT = 'STRICT_STAPLING';
const MUST = 'MUST_STAPLE';
const ecStale = withStaple(elliptic, ocspResponse(directory, ca, [elliptic], 'yesterday'));
const rsaFresh = withStaple(rsa, ocspResponse(directory, ca, [rsa]));
const wildcardFresh = withStaple(wildcard, ocspResponse(directory, ca, [wildcard]));
const rotating = `${directory}/rotating.der`;
copyFileSync(stale, rotating);

describe('OCSP staple policies', () => {
  let proxy: ProxyProcess;
  before(async () => {
    proxy = await startProxy({
      config: bootstrap([
        tlsListener('default_fresh', [withStaple(plain, fresh)], null),
        tlsListener('lenient_stale', [withStaple(plain, stale)], 'LENIENT_STAPLING'),
        tlsListener('lenient_none', [files(plain)], 'LENIENT_STAPLING'),
        tlsListener('strict_fresh', [withStaple(plain, fresh)], STRICT),
        tlsListener('strict_stale', [withStaple(plain, stale)], STRICT),
        tlsListener('strict_none', [files(plain)], STRICT),
        tlsListener('must_fresh', [withStaple(plain, fresh)], MUST),
        tlsListener('must_unsaid', [withStaple(plain, ocspResponse(directory, ca, [plain], 'unsaid'))], MUST),
        tlsListener('extension_fresh', [withStaple(must, ocspResponse(directory, ca, [must]))], null),
        tlsListener('extension_stale', [withStaple(must, ocspResponse(directory, ca, [must], 'yesterday'))], null),
        tlsListener('types', [ecStale, rsaFresh], STRICT),
        tlsListener('mixed', [ecStale, rsaFresh], 'LENIENT_STAPLING'),
        tlsListener('wildcard', [ecStale, wildcardFresh], STRICT),
        tlsListener('first', [ecStale, withStaple(plain, fresh)], STRICT),
        tlsListener('scan', [ecStale, withStaple(plain, fresh)], STRICT, { full_scan_certs_on_sni_mismatch: true }),
        tlsListener('rotate', [withStaple(plain, rotating)], STRICT),
      ]),
    });
  });
  after(() => proxy.stop());

  /** [requests, responses, omitted, failed] */
  const counted = async (name: string): Promise<number[]> =>
    Promise.all(
      ['requests', 'responses', 'omitted', 'failed'].map((kind) => proxy.stat(`listener.${name}.ssl.ocsp_staple_${kind}`)),
    );

  const outcomes: [string, 'stapled' | 'without' | 'refused'][] = [
    ['default_fresh', 'stapled'],
    ['lenient_stale', 'without'],
    ['lenient_none', 'without'],
    ['strict_fresh', 'stapled'],
    ['strict_stale', 'refused'],
    ['strict_none', 'without'],
    ['must_fresh', 'stapled'],
    ['must_unsaid', 'refused'],
    ['extension_fresh', 'stapled'],
    ['extension_stale', 'refused'],
  ];
  for (const [name, outcome] of outcomes) {
    test(`${name}: ${outcome}`, async () => {
      for (const version of ['-tls1_2', '-tls1_3']) {
        const asked = await ocspClient(proxy.port(name), true, [version]);
        assert.equal(asked.connected, outcome !== 'refused', asked.text);
        assert.equal(asked.status, outcome === 'stapled' ? 'good' : '', asked.text);
        if (outcome === 'refused') assert.match(asked.text, /alert handshake failure/);
        const silent = await ocspClient(proxy.port(name), false, [version]);
        assert.ok(silent.connected, silent.text);
      }
      const expected = { stapled: [2, 2, 0, 0], without: [2, 0, 2, 0], refused: [2, 0, 0, 2] }[outcome];
      assert.deepEqual(await counted(name), expected);
      assert.equal(await proxy.stat(`listener.${name}.ssl.connection_error`), outcome === 'refused' ? 2 : 0);
    });
  }

  const SNI = ['-servername', 'both.example'];
  test('a certificate of another type with a valid response is used instead', async () => {
    const asked = await ocspClient(proxy.port('types'), true, SNI);
    assert.deepEqual([asked.serial, asked.status], [serialOf(rsa), 'good'], asked.text);
    assert.equal((await ocspClient(proxy.port('types'), false, SNI)).serial, serialOf(elliptic));
    assert.deepEqual(await counted('types'), [1, 1, 0, 0]);
  });

  test('under the lenient policy the better certificate is used without a response', async () => {
    const asked = await ocspClient(proxy.port('mixed'), true, SNI);
    assert.deepEqual([asked.serial, asked.status], [serialOf(elliptic), ''], asked.text);
    const old = await ocspClient(proxy.port('mixed'), true, [...SNI, '-tls1_2', '-cipher', 'ECDHE-RSA-AES128-GCM-SHA256']);
    assert.deepEqual([old.serial, old.status], [serialOf(rsa), 'good'], old.text);
    assert.deepEqual(await counted('mixed'), [2, 1, 1, 0]);
  });

  test('the certificate of a wildcard is used when that of the name may not be', async () => {
    const asked = await ocspClient(proxy.port('wildcard'), true, SNI);
    assert.deepEqual([asked.serial, asked.status], [serialOf(wildcard), 'good'], asked.text);
    assert.equal((await ocspClient(proxy.port('wildcard'), false, SNI)).serial, serialOf(elliptic));
  });

  test('a name that no certificate may serve: the first or a scan of all', async () => {
    assert.equal((await ocspClient(proxy.port('first'), true, SNI)).connected, false);
    assert.equal((await ocspClient(proxy.port('scan'), true, SNI)).serial, serialOf(plain));
    // Without a name all are candidates in any case.
    assert.equal((await ocspClient(proxy.port('first'), true, ['-noservername'])).serial, serialOf(plain));
    assert.deepEqual(await counted('first'), [2, 1, 0, 1]);
  });

  test('a new response in the file makes the certificate usable again', async () => {
    const port = proxy.port('rotate');
    assert.equal((await ocspClient(port, true)).connected, false);
    copyFileSync(fresh, `${rotating}.new`);
    renameSync(`${rotating}.new`, rotating);
    await until(async () => (await ocspClient(port, true)).status === 'good', 'the new response');
    writeFileSync(`${rotating}.new`, readFileSync(fresh).subarray(0, 100));
    renameSync(`${rotating}.new`, rotating);
    await proxy.untilStat('listener.rotate.ssl.context_reload_failed', (n) => n >= 1);
    assert.equal((await ocspClient(port, true)).status, 'good');
  });
});

describe('OCSP responses that cannot be', () => {
  const garbage = `${directory}/garbage.der`;
  writeFileSync(garbage, 'not DER');
  const twice = `${directory}/twice.der`;
  writeFileSync(twice, Buffer.concat([readFileSync(fresh), readFileSync(fresh)]));
  const unsuccessful = `${directory}/later.der`;
  writeFileSync(unsuccessful, Buffer.from('30030a0103', 'hex'));
  const cases: [string, Json, string | null, RegExp][] = [
    ['none where one must be', files(plain), MUST, /Required OCSP response is missing from TLS context/],
    ['none for a must-staple certificate', files(must), null, /OCSP response is required for must-staple certificate/],
    ['of another certificate', withStaple(wildcard, fresh), null, /OCSP response does not match its TLS certificate/],
    ['of two certificates', withStaple(plain, ocspResponse(directory, ca, [plain, must])), null, /for one certificate only/],
    ['not a response', withStaple(plain, garbage), null, /OCSP Response is not a well-formed ASN.1 SEQUENCE/],
    ['two responses', withStaple(plain, twice), null, /Data contained more than a single OCSP response/],
    ['try later', withStaple(plain, unsuccessful), null, /OCSP response was unsuccessful/],
    ['inline text', { ...files(plain), ocsp_staple: { inline_string: 'x' } }, null, /cannot be provided via inline_string/],
  ];
  for (const [title, certificate, policy, expected] of cases) {
    test(title, async () => {
      const proxy = spawnProxy({ config: bootstrap([tlsListener('bad', [certificate], policy)]), args: ['--mode', 'validate'] });
      assert.equal(await proxy.exited, 1);
      assert.match(proxy.log, expected);
      assert.match(proxy.log, /tls_certificates\[0\]\.ocsp_staple/);
    });
  }
});
