/** envoy.filters.http.jwt_authn in the real proxy: tokens that node:crypto signs, keys in the configuration and from a node:http server. */
import assert from 'node:assert/strict';
import { constants, createHmac, generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import {
  type AdminAnswer,
  httpRequest,
  type Json,
  type ProxyProcess,
  spawnProxy,
  startProxy,
  until,
} from '../support/proxy_process.ts';
import { bootstrap, cluster, fileLog, http, httpFilters, listener, perRoute, route, WHY } from './support/config.ts';
import { type HttpUpstream, httpUpstream } from './support/upstreams.ts';

const MESSAGE = 'jwt_authn.v3.JwtAuthentication';
const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
const otherRsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
const ec = { ES256: 'P-256', ES384: 'P-384', ES512: 'P-521' } as const;
const ecKeys = Object.fromEntries(
  Object.entries(ec).map(([alg, namedCurve]) => [alg, generateKeyPairSync('ec', { namedCurve })]),
);
const ed = generateKeyPairSync('ed25519');
const secret = randomBytes(32);

const jwk = (key: KeyObject, more: Json = {}): Json => ({ ...(key.export({ format: 'jwk' }) as Json), ...more });
const KEYS = {
  keys: [
    { kty: 'RSA', kid: 'bad' },
    jwk(rsa.publicKey, { kid: 'rsa' }),
    ...Object.entries(ecKeys).map(([alg, { publicKey }]) => jwk(publicKey, { kid: alg, alg })),
    jwk(ed.publicKey, { kid: 'ed' }),
    { kty: 'oct', kid: 'hs', k: secret.toString('base64url') },
  ],
};

const now = Math.floor(Date.now() / 1000);
const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');

function token(claims: Json = {}, alg = 'RS256', kid: string | undefined = undefined, key: KeyObject = rsa.privateKey): string {
  const text = `${part({ alg, typ: 'JWT', kid })}.${part({ iss: 'https://issuer', sub: 'ann', exp: now + 600, ...claims })}`;
  const hash = `sha${alg.slice(2)}`;
  const data = Buffer.from(text);
  const signature = alg.startsWith('HS')
    ? createHmac(hash, secret).update(data).digest()
    : alg.startsWith('ES')
      ? sign(hash, data, { key: ecKeys[alg].privateKey, dsaEncoding: 'ieee-p1363' })
      : alg === 'EdDSA'
        ? sign(null, data, ed.privateKey)
        : alg.startsWith('PS')
          ? sign(hash, data, { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST })
          : sign(hash, data, key);
  return `${text}.${signature.toString('base64url')}`;
}

describe('jwt_authn', () => {
  let proxy: ProxyProcess;
  let upstream: HttpUpstream;
  let keyServer: HttpUpstream;
  let fetched = 0;
  let served: Json = KEYS;
  let holding: (() => void) | null = null;

  before(async () => {
    upstream = await httpUpstream((request, response) =>
      response.end(JSON.stringify({ url: request.url, headers: request.headers })),
    );
    keyServer = await httpUpstream((request, response) => {
      fetched++;
      if (request.url === '/gone') response.writeHead(404).end();
      else if (request.url === '/hold') holding = () => response.end(JSON.stringify(served));
      else response.end(JSON.stringify(served));
    });
    const local = (extra: Json = {}): Json => ({
      issuer: 'https://issuer',
      local_jwks: { inline_string: JSON.stringify(KEYS) },
      ...extra,
    });
    const remote = (path: string, extra: Json = {}): Json => ({
      issuer: 'https://issuer',
      remote_jwks: { http_uri: { uri: `https://keys.test${path}`, cluster: 'keys', timeout: '2s' }, ...extra },
    });
    const providers = {
      main: local({ payload_in_metadata: 'payload', header_in_metadata: 'header' }),
      audience: local({ audiences: ['https://api.test/', 'other'] }),
      forward: local({
        forward: true,
        forward_payload_header: 'x-payload',
        pad_forward_payload_header: true,
        claim_to_headers: [
          { header_name: 'x-sub', claim_name: 'sub' },
          { header_name: 'x-nested', claim_name: 'a.b' },
          { header_name: 'x-list', claim_name: 'list' },
        ],
      }),
      places: local({
        from_headers: [{ name: 'x-token', value_prefix: 'Token ' }],
        from_params: ['jwt'],
        from_cookies: ['session'],
      }),
      cached: local({ jwt_cache_config: { jwt_cache_size: 10 } }),
      strict: local({ require_expiration: true, max_lifetime: '3600s', subjects: { prefix: 'a' } }),
      second: { ...local({ issuer: 'https://second' }), from_headers: [{ name: 'x-second' }] },
      remote: remote('/keys?v=1', { cache_duration: '3600s' }),
      gone: remote('/gone'),
      hold: remote('/hold'),
      ahead: remote('/ahead', { async_fetch: { failed_refetch_duration: '0.05s' }, cache_duration: '0.1s' }),
    };
    const rule = (prefix: string, requires: Json | string): Json => ({
      match: { prefix },
      requires: typeof requires === 'string' ? { provider_name: requires } : requires,
    });
    const two = [{ provider_name: 'main' }, { provider_name: 'second' }];
    const manager = (config: Json): Json => httpFilters(['jwt', MESSAGE, { providers, ...config }]);
    proxy = await startProxy({
      config: bootstrap(
        [
          listener('main', [
            http(
              'main',
              [
                { ...route('/route/none', 'node'), ...perRoute('jwt', 'jwt_authn.v3.PerRouteConfig', { disabled: true }) },
                {
                  ...route('/route/named', 'node'),
                  ...perRoute('jwt', 'jwt_authn.v3.PerRouteConfig', { requirement_name: 'a' }),
                },
                {
                  ...route('/route/wrong', 'node'),
                  ...perRoute('jwt', 'jwt_authn.v3.PerRouteConfig', { requirement_name: 'zz' }),
                },
                route('/', 'node'),
              ],
              {
                ...manager({
                  bypass_cors_preflight: true,
                  requirement_map: { a: { provider_name: 'audience' } },
                  rules: [
                    ...Object.keys(providers).map((name) => rule(`/${name}`, name)),
                    rule('/with', { provider_and_audiences: { provider_name: 'audience', audiences: ['mine'] } }),
                    rule('/any', { requires_any: { requirements: two } }),
                    rule('/all', { requires_all: { requirements: two } }),
                    rule('/lax', { requires_any: { requirements: [{ provider_name: 'main' }, { allow_missing: {} }] } }),
                    rule('/loose', { allow_missing_or_failed: {} }),
                    { match: { prefix: '/named' }, requirement_name: 'a' },
                    { match: { prefix: '/open' } },
                    rule('/route', 'main'),
                  ],
                }),
                access_log: [fileLog('main', `${WHY} %DYNAMIC_METADATA(envoy.filters.http.jwt_authn)%`)],
              },
            ),
          ]),
          listener('strip', [
            http('strip', [route('/', 'node')], manager({ rules: [rule('/', 'main')], strip_failure_response: true })),
          ]),
        ],
        [cluster('node', [upstream.port]), cluster('keys', [keyServer.port])],
      ),
    });
  });
  after(async () => {
    await proxy.stop();
    await upstream.close();
    await keyServer.close();
  });

  const call = (path: string, jwt?: string, headers: Record<string, string> = {}, method = 'GET'): Promise<AdminAnswer> =>
    httpRequest(proxy.port('main'), path, {
      method,
      headers: { ...(jwt === undefined ? {} : { authorization: `Bearer ${jwt}` }), ...headers },
    });
  const status = async (path: string, jwt?: string, headers: Record<string, string> = {}): Promise<number> =>
    (await call(path, jwt, headers)).status;
  const received = (answer: AdminAnswer): { url: string; headers: Record<string, string> } => {
    assert.equal(answer.status, 200, answer.body);
    return JSON.parse(answer.body);
  };

  for (const [alg, kid] of [
    ...['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'].map((name) => [name, 'rsa']),
    ...Object.keys(ec).map((name) => [name, name]),
    ['EdDSA', 'ed'],
    ...['HS256', 'HS384', 'HS512'].map((name) => [name, 'hs']),
  ]) {
    test(`${alg}, with and without a key id, and not when changed`, async () => {
      assert.equal(await status('/main', token({}, alg, kid)), 200);
      assert.equal(await status('/main', token({}, alg)), 200);
      const [head, , signature] = token({}, alg, kid).split('.');
      const forged = await call('/main', `${head}.${part({ iss: 'https://issuer', sub: 'eve', exp: now + 600 })}.${signature}`);
      assert.equal(forged.status, 401);
      assert.equal(forged.body, 'Jwt verification fails');
    });
  }

  const REFUSED: [string, string, number, string][] = [
    ['another key', token({}, 'RS256', 'rsa', otherRsa.privateKey), 401, 'Jwt verification fails'],
    ['a key id that is not there', token({}, 'RS256', 'none'), 401, "Jwks doesn't have key to match kid or alg from Jwt"],
    ['another type of key', token({}, 'HS256', 'rsa'), 401, "Jwks doesn't have key to match kid or alg from Jwt"],
    ['no signature', `${part({ alg: 'none' })}.${part({ iss: 'https://issuer' })}.`, 401, 'Jwt header [alg] is not supported'],
    ['another issuer', token({ iss: 'https://evil' }), 401, 'Jwt issuer is not configured'],
    ['expired', token({ exp: now - 3600 }), 401, 'Jwt is expired'],
    ['not yet', token({ nbf: now + 3600 }), 401, 'Jwt not yet valid'],
    ['two parts', 'a.b', 401, 'Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections'],
    ['no JSON', 'YQ.YQ.YQ', 401, 'Jwt header is an invalid JSON'],
    ['a time that is text', token({ exp: 'soon' }), 401, 'Jwt payload [exp] field is not an integer or less than 0'],
  ];
  for (const [name, jwt, code, body] of REFUSED) {
    test(`refused: ${name}`, async () => {
      const answer = await call('/main', jwt);
      assert.equal(answer.status, code);
      assert.equal(answer.body, body);
      assert.match(
        String(answer.headers['www-authenticate']),
        /^Bearer realm="http:\/\/127\.0\.0\.1:\d+\/main", error="invalid_token"$/,
      );
    });
  }

  test('missing', async () => {
    const answer = await call('/main?x=1');
    assert.equal(answer.status, 401);
    assert.equal(answer.body, 'Jwt is missing');
    assert.match(String(answer.headers['www-authenticate']), /^Bearer realm="http:\/\/127\.0\.0\.1:\d+\/main\?x=1"$/);
    await proxy.untilLine('main', '/main?x=1 401 - jwt_authn_access_denied{Jwt_is_missing} -');
    const stripped = await httpRequest(proxy.port('strip'), '/');
    assert.deepEqual([stripped.status, stripped.body, stripped.headers['www-authenticate']], [401, '', undefined]);
  });

  test('audiences', async () => {
    assert.equal(await status('/audience', token({ aud: 'http://api.test' })), 200);
    assert.equal(await status('/audience', token({ aud: ['x', 'other'] })), 200);
    const wrong = await call('/audience', token({ aud: 'x' }));
    assert.equal(wrong.status, 403);
    assert.equal(wrong.body, 'Audiences in Jwt are not allowed');
    assert.equal(await status('/with', token({ aud: 'mine' })), 200);
    assert.equal(await status('/with', token({ aud: 'other' })), 403);
    assert.equal(await status('/named', token({ aud: 'other' })), 200);
  });

  test('what goes on to the upstream', async () => {
    const gone = received(await call('/main', token()));
    assert.equal(gone.headers['authorization'], undefined);
    const jwt = token({ a: { b: 7 }, list: [1] });
    const { headers } = received(await call('/forward', jwt, { 'x-sub': 'forged', 'x-list': 'forged', 'x-payload': 'forged' }));
    assert.equal(headers['authorization'], `Bearer ${jwt}`);
    assert.equal(headers['x-sub'], 'ann');
    assert.equal(headers['x-nested'], '7');
    assert.equal(headers['x-list'], undefined);
    assert.equal(headers['x-payload'].replaceAll('=', ''), jwt.split('.')[1]);
    assert.equal(headers['x-payload'].length % 4, 0);
    await call('/main/logged', token({ scope: 'read' }, 'RS256', 'rsa'));
    await proxy.untilLine(
      'main',
      /^\/main\/logged 200 - via_upstream \{"header":\{"alg":"RS256".*"payload":\{.*"scope":"read","sub":"ann"\}\}$/,
    );
  });

  test('places of tokens; all that are there must be good', async () => {
    const jwt = token();
    assert.equal(received(await call('/places', undefined, { 'x-token': `Token ${jwt}` })).headers['x-token'], undefined);
    assert.equal(received(await call(`/places?a=1&jwt=${jwt}&b=2`)).url, '/places?a=1&b=2');
    assert.equal(await status('/places', undefined, { cookie: `a=b; session=${jwt}` }), 200);
    assert.equal(await status('/places', jwt), 401);
    assert.equal(await status('/places', undefined, { 'x-token': `Token ${jwt}`, cookie: 'session=a.b.c' }), 401);
    assert.equal(await status(`/main?access_token=${jwt}`), 200);
  });

  test('requirements', async () => {
    const first = token();
    const second = token({ iss: 'https://second' });
    assert.equal(await status('/any', first), 200);
    assert.equal(await status('/any', undefined, { 'x-second': second }), 200);
    assert.equal(await status('/any'), 401);
    assert.equal(await status('/all', first), 401);
    assert.equal(await status('/all', first, { 'x-second': second }), 200);
    assert.equal(await status('/lax'), 200);
    assert.equal(await status('/lax', first), 200);
    assert.equal(await status('/lax', 'a.b.c'), 401);
    assert.equal(await status('/loose', 'a.b.c'), 200);
    assert.equal(await status('/open'), 200);
    assert.equal(await status('/elsewhere'), 200);
  });

  test('lifetimes and subjects', async () => {
    assert.equal(await status('/strict', token({ iat: now })), 200);
    assert.equal(await status('/strict', token({ exp: undefined })), 401);
    assert.equal(await status('/strict', token({ iat: now, exp: now + 7200 })), 401);
    assert.equal(await status('/strict', token({ iat: now, sub: 'bob' })), 401);
  });

  test('routes', async () => {
    assert.equal(await status('/route/none'), 200);
    assert.equal(await status('/route/named', token({ aud: 'other' })), 200);
    assert.equal(await status('/route/named', token()), 403);
    const wrong = await call('/route/wrong', token());
    assert.equal(wrong.status, 403);
    assert.match(wrong.body, /^Failed JWT authentication: Wrong requirement_name: zz/);
  });

  test('preflights', async () => {
    const answer = await call('/main', undefined, { origin: 'https://a', 'access-control-request-method': 'PUT' }, 'OPTIONS');
    assert.equal(answer.status, 200);
    assert.equal(await proxy.stat('http.main.jwt_authn.cors_preflight_bypassed'), 1);
  });

  test('tokens that are kept', async () => {
    const jwt = token({ jti: '1' });
    for (let i = 0; i < 3; i++) assert.equal(await status('/cached', jwt), 200);
    assert.equal(await proxy.stat('http.main.jwt_authn.jwt_cache_hit'), 2);
    assert.equal(await proxy.stat('http.main.jwt_authn.jwt_cache_miss'), 1);
  });

  test('remote keys: fetched once, and asked for together', async () => {
    const before = fetched;
    assert.equal(await status('/remote', token()), 200);
    assert.equal(await status('/remote', token()), 200);
    assert.ok(fetched - before >= 1);
    const gone = await call('/gone', token());
    assert.equal(gone.status, 401);
    assert.equal(gone.body, 'Jwks remote fetch is failed');
    const waiting = [1, 2, 3].map(() => status('/hold', token()));
    await until(
      async () => holding !== null,
      () => 'the keys to be asked for',
    );
    const controller = new AbortController();
    const given = fetch(`http://127.0.0.1:${proxy.port('main')}/hold`, {
      headers: { authorization: `Bearer ${token()}` },
      signal: controller.signal,
    }).catch(() => 'aborted');
    await proxy.untilStat('http.main.downstream_rq_active', (value) => value === 4);
    controller.abort();
    assert.equal(await given, 'aborted');
    holding?.();
    assert.deepEqual(await Promise.all(waiting), [200, 200, 200]);
  });

  test('remote keys: ahead of time, and renewed', async () => {
    assert.equal(await status('/ahead', token({}, 'RS256', 'rsa', otherRsa.privateKey)), 401);
    served = { keys: [jwk(otherRsa.publicKey, { kid: 'rsa' })] };
    await until(
      async () => (await status('/ahead', token({}, 'RS256', 'rsa', otherRsa.privateKey))) === 200,
      () => 'the new keys',
    );
    served = { keys: 'none' };
    await proxy.untilStat('http.main.jwt_authn.jwks_fetch_failed', (value) => value > 2);
    assert.equal(await status('/ahead', token({}, 'RS256', 'rsa', otherRsa.privateKey)), 200, 'old keys serve on');
  });

  test('mistakes are found at the start', async () => {
    const refused = async (config: Json): Promise<string> => {
      const bad = spawnProxy({ config: bootstrap([listener('a', [http('a', [], httpFilters(['jwt', MESSAGE, config]))])]) });
      assert.equal(await bad.exited, 1);
      return bad.log;
    };
    const providers = { p: { local_jwks: { inline_string: JSON.stringify(KEYS) } } };
    const rules = [{ match: { prefix: '/' }, requires: { provider_name: 'q' } }];
    assert.match(await refused({ providers, rules }), /Required provider \['q'\] is not configured/);
    assert.match(
      await refused({ providers: { p: { local_jwks: { inline_string: '{}' } } } }),
      /Jwks does not have \[keys\] field/,
    );
  });
});
