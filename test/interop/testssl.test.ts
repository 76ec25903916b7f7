/** testssl.sh against a listener with defaults: protocols, ciphers, forward secrecy, server defaults and every vulnerability check. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { CertificateFactory } from '../support/certificates.ts';
import { type ProxyProcess, startProxy } from '../support/proxy_process.ts';
import { bootstrap, http, listener } from './support/config.ts';
import { downstreamTls, files } from './support/tls.ts';
import { needs } from './support/upstreams.ts';

interface Finding {
  id: string;
  severity: string;
  finding: string;
}

const LIMIT_MS = 280_000;
/** About the test's certificate, or checks that the program could not do with its own openssl; not about the listener. */
const NOT_OURS = /^(cert_|certificate|engine_problem|DNS_CAArecord|OCSP_|sessionresumption_)/;
const FINE = new Set(['OK', 'INFO', 'DEBUG']);
/** One for each name in the manual: a version that dropped or renamed a check would make the test say nothing. */
const VULNERABILITIES = [
  ...['heartbleed', 'CCS', 'ticketbleed', 'ROBOT', 'secure_renego', 'secure_client_renego', 'CRIME_TLS', 'BREACH', 'POODLE_SSL'],
  ...['SWEET32', 'FREAK', 'DROWN', 'LOGJAM', 'BEAST', 'LUCKY13', 'RC4'],
];

describe('testssl.sh', { skip: needs('testssl', 'openssl') }, () => {
  let proxy: ProxyProcess;
  let findings: Finding[] = [];

  before(async () => {
    const certificates = new CertificateFactory();
    const ca = certificates.make('test ca', { isCa: true });
    const certificate = certificates.make('localhost', { san: 'DNS:localhost,IP:127.0.0.1', issuer: ca, days: 80 });
    const routes = [{ match: { prefix: '/' }, direct_response: { status: 200, body: { inline_string: 'fine' } } }];
    const transport = downstreamTls([files(certificate)], { alpn_protocols: ['h2', 'http/1.1'] });
    proxy = await startProxy({
      config: bootstrap([
        listener('tls', [], { filter_chains: [{ filters: [http('tls', routes)], transport_socket: transport }] }),
      ]),
    });
    const out = proxy.file('findings.json');
    const checks = ['--protocols', '--std', '--server-preference', '--pfs', '--server-defaults', '--vulnerable'];
    const how = ['--warnings', 'batch', '--color', '0', '--quiet', '--nodns', 'none', '--add-ca', ca.certificateFile];
    await new Promise<void>((resolve) => {
      const args = [...how, ...checks, '--jsonfile', out, `127.0.0.1:${proxy.port('tls')}`];
      execFile('testssl', args, { timeout: LIMIT_MS, maxBuffer: 16 << 20 }, () => resolve());
    });
    findings = JSON.parse(readFileSync(out, 'utf8')) as Finding[];
  });

  after(() => proxy.stop());

  const severity = (id: string): string | undefined => findings.find((one) => one.id === id)?.severity;
  const finding = (id: string): string => findings.find((one) => one.id === id)?.finding ?? 'nothing';

  test('not vulnerable in any of its checks', () => {
    for (const id of VULNERABILITIES) assert.equal(severity(id), 'OK', `${id}: ${finding(id)}`);
  });

  test('only TLS 1.2 and 1.3, only AEAD with forward secrecy, the order of the server', () => {
    for (const id of ['SSLv2', 'SSLv3', 'TLS1', 'TLS1_1']) assert.match(finding(id), /^not offered/, id);
    assert.match(finding('TLS1_2'), /^offered/);
    assert.match(finding('TLS1_3'), /^offered/);
    for (const id of ['NULL', 'aNULL', 'EXPORT', 'LOW', '3DES_IDEA', 'AVERAGE'])
      assert.match(finding(`cipherlist_${id}`), /^not offered/, id);
    assert.equal(severity('cipher_order'), 'OK');
    assert.equal(severity('PFS'), 'OK');
    assert.match(finding('ALPN_HTTP2'), /h2/);
  });

  test('nothing of the listener is worse than fine', () => {
    const bad = findings.filter((one) => !FINE.has(one.severity) && !NOT_OURS.test(one.id));
    assert.deepEqual(
      bad.map((one) => `${one.severity} ${one.id}: ${one.finding}`),
      [],
    );
  });

  test('the proxy is as before', async () => {
    await proxy.untilStat('http.tls.downstream_cx_active', (n) => n === 0);
    await proxy.untilStat('workers.buffer_blocks_held', (n) => n <= 2);
  });
});
