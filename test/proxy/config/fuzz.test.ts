/** Whatever the text is: it loads or it is a ConfigErrors, never another exception. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { api } from '../../../src/proxy/config/api/registry.ts';
import { ConfigErrors } from '../../../src/proxy/config/errors.ts';
import { loadBootstrap } from '../../../src/proxy/config/load.ts';
import { withHcm } from './helpers.ts';

function loadsOrTells(yaml: string, options: { allowUnsupported?: boolean; substituteEnv?: boolean } = {}): void {
  try {
    loadBootstrap({ yaml, env: {}, ...options });
  } catch (error) {
    assert.ok(error instanceof ConfigErrors, `${yaml}\n${error instanceof Error ? error.stack : String(error)}`);
    assert.ok(error.errors.length > 0);
    for (const each of error.errors)
      assert.ok(each.line === undefined || (each.line >= 1 && (each.column ?? 0) >= 1), each.message);
  }
}

const VALID = withHcm(
  'access_log: []',
  '[{ match: { prefix: /a }, redirect: { path_redirect: /b } }]',
  'type: STATIC, metadata: { filter_metadata: { a: { b: c } } }',
);

test('random text', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 200 }), (text) => loadsOrTells(text)),
    { numRuns: 300 },
  );
  const punctuation = fc.string({ unit: fc.constantFrom(...'{}[]:,-?!&*|>\'"%@`#~<= \n\tab01$'), maxLength: 60 });
  fc.assert(
    fc.property(punctuation, (text) => loadsOrTells(text, { substituteEnv: true })),
    { numRuns: 1000 },
  );
});

test('a valid bootstrap with pieces cut out, put in or changed', () => {
  const piece = fc.constantFrom(
    '',
    '{',
    '}',
    ':',
    '- ',
    '&a ',
    '*a',
    '!ignore ',
    '<<: ',
    'null',
    '~',
    '[]',
    '{}',
    '"',
    '5',
    'yes',
    '-1',
    '\n',
    '@type',
    '0.5s',
    '__proto__',
  );
  fc.assert(
    fc.property(fc.nat(VALID.length), fc.nat(12), piece, fc.boolean(), (at, length, text, allowUnsupported) => {
      loadsOrTells(VALID.slice(0, at) + text + VALID.slice(at + length), { allowUnsupported });
    }),
    { numRuns: 1000 },
  );
});

test('trees of real field names with values of any type', () => {
  const names = [
    'static_resources',
    'listeners',
    'clusters',
    'address',
    'socket_address',
    'metadata',
    'name',
    'typed_config',
    'filters',
    'constructor',
    '__proto__',
    'toString',
  ];
  for (const type of ['bootstrap.v3.Bootstrap', 'cluster.v3.Cluster', 'listener.v3.Listener', 'route.v3.Route']) {
    names.push(
      ...api()
        .message(`envoy.config.${type}`)
        .fields.map((field) => field.name),
    );
  }
  const any = fc.record({
    '@type': fc.constantFrom(
      'type.googleapis.com/google.protobuf.Any',
      'google.protobuf.Struct',
      'xds.type.v3.TypedStruct',
      '',
      'x',
    ),
  });
  const tree = fc.letrec((tie) => ({
    value: fc.oneof(
      { depthSize: 'medium' },
      fc.jsonValue({ maxDepth: 1 }),
      any,
      fc.array(tie('value'), { maxLength: 3 }),
      tie('map'),
    ),
    map: fc.dictionary(fc.constantFrom(...names), tie('value'), { maxKeys: 4, noNullPrototype: true }),
  }));
  fc.assert(
    fc.property(tree.map, fc.boolean(), (value, allowUnsupported) => loadsOrTells(JSON.stringify(value), { allowUnsupported })),
    { numRuns: 700 },
  );
});

test('aliases cannot make a small text a huge tree', () => {
  let text = 'node: { metadata: { a: &a0 [x, x, x, x, x, x, x, x, x, x]';
  for (let level = 1; level < 12; level++) text += `, b${level}: &a${level} [${`*a${level - 1},`.repeat(10)}]`;
  assert.throws(() => loadBootstrap({ yaml: `${text} } }` }), /the configuration is too large/);
});
