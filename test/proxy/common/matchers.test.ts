/** Shared matchers: strings, ranges, addresses, values, hashes. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { asciiLower, byteText, parseInteger } from '../../../src/proxy/common/byte_text.ts';
import {
  CidrRange,
  compileListStringMatcher,
  compileStringMatcher,
  fractionContains,
  IpList,
  inRange,
} from '../../../src/proxy/common/matchers.ts';
import { compileMetadataMatcher, compileValueMatcher, type ValueMatcherConfig } from '../../../src/proxy/common/value_matcher.ts';
import { xxHash64 } from '../../../src/proxy/common/xxhash64.ts';
import { ipAddress, ipFromBytes, pipeAddress } from '../../../src/proxy/network/address.ts';
import { configError } from '../http/route/support.ts';

test('byte text', () => {
  assert.equal(byteText('aé'), 'a\xc3\xa9');
  assert.equal(asciiLower('AbÉ'), 'abÉ');
  assert.equal(parseInteger(' 42 '), 42);
  assert.equal(parseInteger('-1'), -1);
  for (const text of ['', ' ', '1.5', '0x10', '1e3', '12a']) assert.equal(parseInteger(text), undefined, text);
});

test('list matchers match when any pattern does', () => {
  const list = compileListStringMatcher({ patterns: [{ exact: 'a' }, { prefix: 'b' }] });
  assert.deepEqual(
    ['a', 'bc', 'c'].map((text) => list.match(text)),
    [true, true, false],
  );
});

test('string matcher errors', () => {
  assert.equal(
    configError(() => compileStringMatcher({ safeRegex: { regex: 'a' }, ignoreCase: true })).reason,
    'ignore_case has no effect for safe_regex.',
  );
  assert.equal(configError(() => compileStringMatcher({ custom: {} })).reason, 'custom is not supported');
  assert.equal(configError(() => compileStringMatcher({ safeRegex: { regex: '[' } }, 'p')).path, 'p.safe_regex');
  assert.match(configError(() => compileStringMatcher({})).reason, /^one of exact/);
});

test('ranges and fractions', () => {
  assert.deepEqual(
    [1, 2, 4, 5].map((value) => inRange({ start: 2, end: 5 }, value)),
    [false, true, true, false],
  );
  assert.equal(fractionContains(1, 'MILLION', 2_000_000), true);
  assert.equal(fractionContains(1, 'MILLION', 1), false);
  assert.equal(fractionContains(0, 'HUNDRED', 0), false);
});

const CIDRS: [prefix: string, length: number, inside: string[], outside: string[]][] = [
  ['10.0.0.0', 8, ['10.0.0.1', '10.255.255.255'], ['11.0.0.0', '::ffff:10.0.0.1']],
  ['192.168.1.129', 25, ['192.168.1.128', '192.168.1.255'], ['192.168.1.127']],
  ['1.2.3.4', 32, ['1.2.3.4'], ['1.2.3.5']],
  ['0.0.0.0', 0, ['255.1.2.3'], ['::1']],
  ['2001:db8::', 33, ['2001:db8:7fff::1'], ['2001:db8:8000::1', '32.1.13.184']],
  ['::', 0, ['::1', 'ff::'], ['0.0.0.0']],
  ['::1', 128, ['::1'], ['::2']],
];
for (const [addressPrefix, prefixLen, inside, outside] of CIDRS) {
  test(`addresses in ${addressPrefix}/${prefixLen}`, () => {
    const range = new CidrRange({ addressPrefix, prefixLen });
    for (const ip of inside) assert.equal(range.contains(ipAddress(ip, 1)), true, ip);
    for (const ip of outside) assert.equal(range.contains(ipAddress(ip, 1)), false, ip);
    assert.equal(range.contains(pipeAddress('/x')), false);
    assert.equal(range.contains(null), false);
  });
}

test('a range holds exactly what shares its first bits', () => {
  const bytes = fc.uint8Array({ minLength: 16, maxLength: 16 });
  fc.assert(
    fc.property(bytes, bytes, fc.integer({ min: 0, max: 128 }), (a, b, prefixLen) => {
      const bits = (address: Uint8Array): string =>
        Array.from(address, (byte) => byte.toString(2).padStart(8, '0'))
          .join('')
          .slice(0, prefixLen);
      const range = new CidrRange({ addressPrefix: ipFromBytes(a, 0).ip, prefixLen });
      assert.equal(range.containsBytes(b), bits(a) === bits(b));
      assert.equal(range.containsBytes(a), true);
    }),
  );
});

test('address lists', () => {
  const list = new IpList([
    { addressPrefix: '10.0.0.0', prefixLen: 8 },
    { addressPrefix: '::1', prefixLen: 128 },
  ]);
  assert.equal(list.size, 2);
  assert.equal(list.contains(ipAddress('::1', 0)), true);
  assert.equal(list.contains(ipAddress('9.0.0.1', 0)), false);
  const error = configError(() => new IpList([{ addressPrefix: 'foo', prefixLen: 1 }], 'ranges'));
  assert.equal(error.reason, 'malformed IP address: foo');
  assert.equal(error.path, 'ranges[0]');
});

const VALUES: [matcher: ValueMatcherConfig, yes: unknown[], no: unknown[]][] = [
  [{ nullMatch: {} }, [null], [undefined, 0]],
  [{ doubleMatch: { exact: 1.5 } }, [1.5], [1, '1.5', undefined]],
  [{ doubleMatch: { range: { start: 1, end: 2 } } }, [1, 1.9], [2, 0.9]],
  [{ stringMatch: { prefix: 'é' } }, ['éa'], ['a', 1]],
  [{ boolMatch: false }, [false], [true, undefined, null]],
  [{ presentMatch: true }, [null, 0, ''], [undefined]],
  [{ presentMatch: false }, [], [undefined, 1]],
  [{ listMatch: { oneOf: { stringMatch: { exact: 'a' } } } }, [['b', 'a']], [['b'], 'a', []]],
  [{ orMatch: { valueMatchers: [{ boolMatch: true }, { doubleMatch: { exact: 1 } }] } }, [true, 1], [false, 2]],
];
for (const [matcher, yes, no] of VALUES) {
  test(`value matcher ${JSON.stringify(matcher)}`, () => {
    const matches = compileValueMatcher(matcher);
    for (const value of yes) assert.equal(matches(value), true, JSON.stringify(value));
    for (const value of no) assert.equal(matches(value), false, JSON.stringify(value));
  });
}

test('metadata matcher: path, invert, nothing there', () => {
  const config = { filter: 'f', path: [{ key: 'a' }, { key: 'b' }], value: { stringMatch: { exact: 'x' } } };
  const matches = compileMetadataMatcher(config);
  assert.equal(matches({ f: { a: { b: 'x' } } }), true);
  assert.equal(matches({ f: { a: 'x' } }), false);
  assert.equal(matches({ g: {} }), false);
  assert.equal(matches(null), false);
  assert.equal(compileMetadataMatcher({ ...config, invert: true })(null), true);
  assert.equal(
    compileMetadataMatcher({ ...config, path: [{ key: 'constructor' }], value: { presentMatch: true } })({ f: {} }),
    false,
  );
});

test('xxHash64 gives the published values', () => {
  assert.equal(xxHash64('').toString(16), 'ef46db3751d8e999');
  assert.equal(xxHash64('a').toString(16), 'd24ec4f1a98c6e5b');
  assert.equal(xxHash64('abc').toString(16), '44bc2cf5ad770999');
  assert.equal(xxHash64('foo').toString(16), '33bf00a859c4ba3f');
  assert.equal(xxHash64('Nobody inspects the spammish repetition').toString(16), 'fbcea83c8a378bf1');
});
