/** Path normalisation, against Envoy's tables and by property. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { PathNormalization } from '../../../src/proxy/http/path_utility.ts';
import {
  canonicalPath,
  isNormalPath,
  mergeSlashes,
  normalizePath,
  removeQueryAndFragment,
  unescapeSlashes,
} from '../../../src/proxy/http/path_utility.ts';

const OFF: PathNormalization = {
  normalizePath: false,
  mergeSlashes: false,
  escapedSlashes: 'KEEP_UNCHANGED',
  rejectFragment: true,
};

const CANONICAL: [path: string, expected: string | null][] = [
  ['/xyz', '/xyz'],
  ['/x/y/z', '/x/y/z'],
  ['/A/B/C', '/A/B/C'],
  ['/a/b/../c', '/a/c'],
  ['/a/b/./c', '/a/b/c'],
  ['a/b/../c', '/a/c'],
  ['/a/b/../../../../c', '/c'],
  ['/a/..\\c', '/c'],
  ['\\a\\b', '/a/b'],
  ['/%c0%af', '/%c0%af'],
  ['/%5c%25', '/%5c%25'],
  ['/a/b/%2E%2E/c', '/a/c'],
  ['/a/b/%2e%2e/c', '/a/c'],
  ['/a/b/%2E./c', '/a/c'],
  ['/a/b/.%2e/c', '/a/c'],
  ['/a/b/%2E/c', '/a/b/c'],
  ['..', '/'],
  ['.', '/'],
  ['', '/'],
  ['/..', '/'],
  ['/a/..', '/'],
  ['/a/.', '/a/'],
  ['/../a/b', '/a/b'],
  ['/./a/b', '/a/b'],
  ['/a/...', '/a/...'],
  ['/a/..b', '/a/..b'],
  ['/a/.b/c.', '/a/.b/c.'],
  ['/a//../b', '/a/b'],
  ['//a', '//a'],
  ['/a/%2F%2f/c', '/a/%2F%2f/c'],
  ['/%2e%2e/a', '/a'],
  // Unreserved characters are unescaped, the rest keep their hex digits as they are.
  ['/%61%7e%2d%5F', '/a~-_'],
  ['/%3a%3A', '/%3a%3A'],
  ['/a b"<>^`{|}\x7f\xe9', '/a%20b%22%3C%3E%5E%60%7B%7C%7D%7F%E9'],
  ["/!$&'()*+,;=:@[]-_~", "/!$&'()*+,;=:@[]-_~"],
  ['/%', '/%'],
  ['/%zz', '/%zz'],
  ['/%2', '/%2'],
  // Unescaping makes no new escape.
  ['/%2%65%2e', '/%252e.'],
  ['/%%32e', '/%252e'],
  ['/xyz/.%00../abc', null],
  ['/xyz/%00.%00./abc', null],
  ['/xyz/AAAAA%%0000/abc', null],
  // The query is not touched.
  ['/a/../b?x=/../y%2e', '/b?x=/../y%2e'],
  ['/a?', '/a?'],
];
for (const [path, expected] of CANONICAL) {
  test(`canonical form of ${JSON.stringify(path)} is ${JSON.stringify(expected)}`, () => {
    assert.equal(canonicalPath(path), expected);
  });
}

const MERGED: [path: string, expected: string][] = [
  ['', ''],
  ['a//b/c', 'a/b/c'],
  ['/a//b/c/', '/a/b/c/'],
  ['a//b/c/', 'a/b/c/'],
  ['/a', '/a'],
  ['//a/b/c', '/a/b/c'],
  ['/a/b/c//', '/a/b/c/'],
  ['/a///b/c', '/a/b/c'],
  ['/a////b/c', '/a/b/c'],
  ['/a//b?a=///c', '/a/b?a=///c'],
  ['/a//b?', '/a/b?'],
  ['//a/?b', '/a/?b'],
];
test('merged slashes', () => {
  for (const [path, expected] of MERGED) assert.equal(mergeSlashes(path), expected, path);
});

test('query and fragment are removed', () => {
  for (const path of ['/abc', '/abc?', '/abc?a=b', '/abc#', '/abc#f?x', '/abc?x#f', '/abc??#'])
    assert.equal(removeQueryAndFragment(path), '/abc');
});

test('escaped slashes', () => {
  assert.equal(unescapeSlashes('/a%2Fb%5Cc%2f%5c?x=%2F'), '/a/b\\c/\\?x=%2F');
  assert.equal(unescapeSlashes('/a%252F'), '/a%252F');
});

const STEPS: [path: string, options: Partial<PathNormalization>, kind: string, expected?: string][] = [
  ['/a#b', {}, 'reject'],
  ['/a?x#b', {}, 'reject'],
  ['/a#b', { rejectFragment: false }, 'continue', '/a'],
  ['/a/../b//c', {}, 'continue', '/a/../b//c'],
  ['/a%2Fb', { escapedSlashes: 'REJECT_REQUEST' }, 'reject'],
  ['/a%2Fb', { escapedSlashes: 'UNESCAPE_AND_REDIRECT' }, 'redirect', '/a/b'],
  ['/ab', { escapedSlashes: 'UNESCAPE_AND_REDIRECT' }, 'continue', '/ab'],
  ['/a%5Cb', { escapedSlashes: 'UNESCAPE_AND_FORWARD', normalizePath: true }, 'continue', '/a/b'],
  ['/a/b%2F..%2Fc', { escapedSlashes: 'UNESCAPE_AND_FORWARD', normalizePath: true }, 'continue', '/a/c'],
  ['/a?x=%2F', { escapedSlashes: 'REJECT_REQUEST' }, 'continue', '/a?x=%2F'],
  ['/%00', { normalizePath: true }, 'reject'],
  // Slashes are merged after dot segments are resolved.
  ['/a/b//../c', { normalizePath: true, mergeSlashes: true }, 'continue', '/a/b/c'],
  ['//a//b', { mergeSlashes: true }, 'continue', '/a/b'],
];
for (const [path, options, kind, expected] of STEPS) {
  test(`${path} with ${JSON.stringify(options)}: ${kind}`, () => {
    const result = normalizePath(path, { ...OFF, ...options });
    assert.equal(result.kind, kind);
    if (result.kind !== 'reject') assert.equal(result.path, expected);
  });
}

const piece = fc.oneof(
  fc.constantFrom(
    '/',
    '//',
    '.',
    '..',
    '%2e',
    '%2E',
    '%2f',
    '%5C',
    '\\',
    '%',
    '%%',
    '%2',
    '%25',
    '%00',
    '%61',
    '%65',
    '?',
    '#',
    'a',
    'e',
    ';',
    ' ',
    '\xe9',
  ),
  fc.string({ unit: 'binary-ascii', maxLength: 3 }),
);
const path = fc.array(piece, { maxLength: 12 }).map((pieces) => `/${pieces.join('')}`);
const options = fc.record<PathNormalization>({
  normalizePath: fc.boolean(),
  mergeSlashes: fc.boolean(),
  escapedSlashes: fc.constantFrom('KEEP_UNCHANGED', 'REJECT_REQUEST', 'UNESCAPE_AND_FORWARD', 'UNESCAPE_AND_REDIRECT'),
  rejectFragment: fc.boolean(),
});

test('the canonical form is canonical, and has no dot segments', () => {
  fc.assert(
    fc.property(path, (text) => {
      const once = canonicalPath(text);
      if (once === null) return;
      assert.equal(canonicalPath(once), once);
      const segments = once.split('?')[0].split('/');
      assert.ok(!segments.includes('..') && !segments.includes('.') && once.startsWith('/'));
      assert.ok(!/%2e/i.test(once.split('?')[0]));
    }),
    { numRuns: 3000 },
  );
});

test('isNormalPath is never wrong, and right about ordinary paths', () => {
  fc.assert(
    fc.property(path, options, (text, choice) => {
      const bytes = Buffer.from(`xx${text}x`, 'latin1');
      if (!isNormalPath(bytes, 2, text.length, choice)) return;
      assert.deepEqual(normalizePath(text, choice), { kind: 'continue', path: text });
    }),
    { numRuns: 3000 },
  );
  const all: PathNormalization = {
    normalizePath: true,
    mergeSlashes: true,
    escapedSlashes: 'REJECT_REQUEST',
    rejectFragment: true,
  };
  for (const ordinary of ['/', '/a/b.html', '/a/b/c?x=%2F..//&y=z', '/v1/users/42/', '/a;b=c']) {
    assert.equal(isNormalPath(Buffer.from(ordinary), 0, ordinary.length, all), true, ordinary);
  }
  for (const other of ['', 'a', '/.', '//', '/%41', '/\\', '/a b', '/a#b', '/a?#b', '/a/../b']) {
    assert.equal(isNormalPath(Buffer.from(other), 0, other.length, all), false, other);
  }
});
