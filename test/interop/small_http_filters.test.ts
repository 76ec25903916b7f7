/** csrf, basic_auth, set_metadata and header_to_metadata in the real proxy. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { fromJson, toBinary } from '@bufbuild/protobuf';
import { ValueSchema } from '@bufbuild/protobuf/wkt';
import { type AdminAnswer, httpRequest, type Json, type ProxyProcess, spawnProxy, startProxy } from '../support/proxy_process.ts';
import {
  bootstrap,
  cluster,
  fileLog,
  http,
  httpFilters,
  listener,
  percent,
  perRoute,
  route,
  WHY,
  withoutFilter,
} from './support/config.ts';
import { type HttpUpstream, httpUpstream } from './support/upstreams.ts';

const sha = (password: string): string => `{SHA}${createHash('sha1').update(password).digest('base64')}`;
const users = (...lines: string[]): Json => ({ users: { inline_string: lines.join('\n') } });

describe('small HTTP filters', () => {
  let proxy: ProxyProcess;
  let upstream: HttpUpstream;

  before(async () => {
    upstream = await httpUpstream((request, response) => {
      response.setHeader('x-answer', '42');
      response.end(JSON.stringify(request.headers));
    });
    const policy = { filter_enabled: percent(100), additional_origins: [{ suffix: '.friend.test' }] };
    const metadata = (format: string): Json => ({ access_log: [fileLog('metadata', `%REQ(:PATH)% ${format}`)] });
    const present = (key: string, more: Json = {}): Json => ({ on_header_present: { metadata_namespace: 'm', key, ...more } });
    proxy = await startProxy({
      config: bootstrap(
        [
          listener('csrf', [
            http(
              'csrf',
              [
                {
                  ...route('/shadow', 'node'),
                  ...perRoute('csrf', 'csrf.v3.CsrfPolicy', { filter_enabled: percent(0), shadow_enabled: percent(100, 'b') }),
                },
                { ...route('/off', 'node'), ...withoutFilter('csrf') },
                route('/', 'node'),
              ],
              { ...httpFilters(['csrf', 'csrf.v3.CsrfPolicy', policy]), access_log: [fileLog('csrf', WHY)] },
            ),
          ]),
          listener('auth', [
            http(
              'auth',
              [
                {
                  ...route('/admin', 'node'),
                  ...perRoute('auth', 'basic_auth.v3.BasicAuthPerRoute', users(`root:${sha('toor')}`)),
                },
                { ...route('/off', 'node'), ...withoutFilter('auth') },
                route('/', 'node'),
              ],
              {
                ...httpFilters([
                  'auth',
                  'basic_auth.v3.BasicAuth',
                  { ...users('# users', `ann:${sha('s:cret')}`, `bob:${sha('pässword')}`), forward_username_header: 'x-user' },
                ]),
                access_log: [fileLog('auth', WHY)],
              },
            ),
          ]),
          listener('metadata', [
            http(
              'metadata',
              [
                {
                  match: {
                    prefix: '/',
                    dynamic_metadata: [{ filter: 'm', path: [{ key: 'never' }], value: { present_match: true } }],
                  },
                  direct_response: { status: 500 },
                },
                {
                  ...route('/own', 'node'),
                  ...perRoute('copy', 'header_to_metadata.v3.Config', { request_rules: [{ header: 'x-a', ...present('own') }] }),
                },
                route('/', 'node'),
              ],
              {
                ...httpFilters(
                  [
                    'set',
                    'set_metadata.v3.Config',
                    {
                      metadata: [
                        { metadata_namespace: 's', value: { a: 1, list: [1], deep: { x: 1 } } },
                        { metadata_namespace: 's', value: { a: 2, list: [2], deep: { y: 2 } }, allow_overwrite: true },
                        { metadata_namespace: 's', value: { a: 3 } },
                      ],
                    },
                  ],
                  [
                    'copy',
                    'header_to_metadata.v3.Config',
                    {
                      request_rules: [
                        { header: 'x-text', ...present('text'), remove: true },
                        { header: 'x-number', ...present('number', { type: 'NUMBER' }) },
                        { header: 'x-proto', ...present('proto', { type: 'PROTOBUF_VALUE', encode: 'BASE64' }) },
                        { header: 'x-fixed', ...present('fixed', { value: 'constant' }) },
                        {
                          header: ':path',
                          ...present('version', {
                            regex_value_rewrite: { pattern: { regex: '^/v(\\d+)/.*' }, substitution: '\\1' },
                          }),
                        },
                        { cookie: 'session', ...present('cookie') },
                        { header: 'x-none', on_header_missing: { metadata_namespace: 'm', key: 'none', value: 'missing' } },
                      ],
                      response_rules: [{ header: 'x-answer', ...present('answer', { type: 'NUMBER' }) }],
                    },
                  ],
                ),
                ...metadata('%DYNAMIC_METADATA(s)% %DYNAMIC_METADATA(m)%'),
              },
            ),
          ]),
        ],
        [cluster('node', [upstream.port])],
      ),
    });
  });
  after(async () => {
    await proxy.stop();
    await upstream.close();
  });

  const call = (name: string, path: string, headers: Record<string, string> = {}, method = 'GET'): Promise<AdminAnswer> =>
    httpRequest(proxy.port(name), path, { method, headers });

  test('csrf', async () => {
    const post = async (path: string, headers: Record<string, string>): Promise<number> =>
      (await call('csrf', path, { host: 'site.test:81', ...headers }, 'POST')).status;
    assert.equal(await post('/', { origin: 'https://site.test:81' }), 200);
    assert.equal(await post('/', { referer: 'http://site.test:81/page?x' }), 200);
    assert.equal(await post('/', { origin: 'https://a.friend.test' }), 200);
    assert.equal(await post('/', { origin: 'https://site.test' }), 403);
    assert.equal(await post('/', { origin: 'null' }), 403);
    assert.equal(await post('/', {}), 403);
    assert.equal(await post('/shadow', {}), 200);
    assert.equal(await post('/off', {}), 200);
    const evil = await call('csrf', '/evil', { origin: 'https://evil.test' }, 'DELETE');
    assert.equal(evil.body, 'Invalid origin');
    assert.equal((await call('csrf', '/', { origin: 'https://evil.test' })).status, 200);
    await proxy.untilLine('csrf', '/evil 403 - csrf_origin_mismatch');
    assert.equal(await proxy.stat('http.csrf.csrf.request_valid'), 3);
    assert.equal(await proxy.stat('http.csrf.csrf.request_invalid'), 5);
    assert.equal(await proxy.stat('http.csrf.csrf.missing_source_origin'), 2);
  });

  test('basic_auth', async () => {
    const as = (credentials: string, scheme = 'Basic'): Record<string, string> => ({
      authorization: `${scheme} ${Buffer.from(credentials).toString('base64')}`,
    });
    const answer = await call('auth', '/', { ...as('ann:s:cret'), 'x-user': 'forged' });
    assert.equal(answer.status, 200);
    assert.equal(JSON.parse(answer.body)['x-user'], 'ann');
    assert.equal((await call('auth', '/', as('bob:pässword'))).status, 200);
    assert.equal((await call('auth', '/admin', as('root:toor'))).status, 200);
    assert.equal((await call('auth', '/admin', as('ann:s:cret'))).status, 401);
    assert.equal((await call('auth', '/off')).status, 200);
    const refused: [Record<string, string>, string][] = [
      [{}, 'Missing username and password.'],
      [as('ann:s:cret', 'Bearer'), "Expected 'Basic' authentication scheme."],
      [as('ann'), 'Invalid basic credential format.'],
      [as('ann:wrong'), 'Invalid username/password combination.'],
      [as('eve:s:cret'), 'Invalid username/password combination.'],
    ];
    for (const [headers, why] of refused) {
      const { status, body, headers: response } = await call('auth', '/x', headers);
      assert.deepEqual([status, body], [401, `User authentication failed. ${why}`]);
      assert.match(String(response['www-authenticate']), /^Basic realm="http:\/\/127\.0\.0\.1:\d+\/x"$/);
    }
    await proxy.untilLine('auth', '/x 401 - invalid_credential_for_basic_auth');
    assert.equal(await proxy.stat('http.auth.basic_auth.denied'), 6);
    const bad = spawnProxy({
      config: bootstrap([
        listener('a', [http('a', [], httpFilters(['auth', 'basic_auth.v3.BasicAuth', users('ann:$apr1$abc')]))]),
      ]),
    });
    assert.equal(await bad.exited, 1);
    assert.match(bad.log, /basic auth: unsupported htpasswd format: please use \{SHA\}/);
  });

  test('set_metadata and header_to_metadata', async () => {
    const proto = Buffer.from(toBinary(ValueSchema, fromJson(ValueSchema, { a: [1, 'b'] }))).toString('base64');
    const answer = await call('metadata', '/v12/x', {
      'x-text': Buffer.from('tëxt').toString('latin1'),
      'x-number': '1.5',
      'x-proto': proto,
      'x-fixed': 'any',
      cookie: 'a=b; session=abc',
    });
    assert.equal(answer.status, 200);
    assert.equal(JSON.parse(answer.body)['x-text'], undefined);
    const set = '{"a":2,"deep":{"x":1,"y":2},"list":[1,2]}';
    const copied =
      '{"answer":42,"cookie":"abc","fixed":"constant","none":"missing","number":1.5,"proto":{"a":[1,"b"]},"text":"tëxt","version":"12"}';
    await proxy.untilLine('metadata', `/v12/x ${set} ${copied}`);
    await call('metadata', '/own', { 'x-a': '1', 'x-number': '2' });
    await proxy.untilLine('metadata', `/own ${set} {"own":"1"}`);
    await call('metadata', '/bad', { 'x-number': 'many', 'x-proto': '////', 'x-none': 'there' });
    await proxy.untilLine('metadata', `/bad ${set} {"answer":42,"version":"/bad"}`);
    assert.ok((await proxy.stat('http.metadata.set_metadata.overwrite_denied')) >= 3);
  });
});
