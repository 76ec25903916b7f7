/** RE2 patterns: meaning, errors, and time. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Re2Program } from '../../../src/proxy/common/re2_program.ts';
import { parseRe2 } from '../../../src/proxy/common/re2_syntax.ts';
import { compileRegex, parseSubstitution } from '../../../src/proxy/common/regex.ts';

const MATCHES: [pattern: string, yes: string[], no: string[]][] = [
  ['', [''], ['a']],
  ['abc', ['abc'], ['ab', 'abcd', 'xabc']],
  ['a|b|', ['a', 'b', ''], ['ab']],
  ['a.c', ['abc', 'a\rc', 'a\xe9c'], ['a\nc', 'ac']],
  ['(?s)a.c', ['a\nc'], []],
  ['a*b+c?', ['b', 'aabbc'], ['aac']],
  ['a{2}b{1,2}c{0,}', ['aab', 'aabbcc'], ['ab', 'aabbb']],
  ['a{,2}', ['a{,2}'], ['aa']],
  ['x{a}', ['x{a}'], []],
  ['[a-c]', ['b'], ['d', '-']],
  ['[^a-c]', ['d', '\n'], ['b']],
  ['[]a]', [']', 'a'], ['b']],
  ['[^]a]', ['b'], [']']],
  ['[a-]', ['a', '-'], ['b']],
  ['[\\d_]+', ['1_2'], ['a']],
  ['[[:alpha:][:^space:]]+', ['ab1'], [' ']],
  ['[[:word:]-]+', ['a_1-'], ['.']],
  ['\\d\\D\\w\\W\\s\\S', ['1x_- a'], ['1x_-\va']],
  ['\\bfoo\\b.*', ['foo', 'foo bar'], ['foobar']],
  ['\\Qa.b*\\Ec', ['a.b*c'], ['axb*c']],
  ['\\x41\\x{42}\\103\\n\\t', ['ABC\n\t'], []],
  ['\\.\\*\\\\\\/', ['.*\\/'], []],
  ['(?i)AbC', ['aBc'], []],
  ['(?i)[a-c]x', ['Bx', 'bX'], ['dx']],
  ['a(?i)b|c', ['aB', 'C', 'c'], ['Ab']],
  ['a(?i:b)c', ['aBc'], ['aBC']],
  ['(?i)a(?-i)b', ['Ab'], ['AB']],
  ['(?P<name>a)(?<other>b)', ['ab'], []],
  ['^abc$', ['abc'], ['abc\n']],
  ['(?m)a$\\n^b', ['a\nb'], []],
  ['\\Aa\\z', ['a'], ['a\n']],
  ['é+', ['\xc3\xa9\xc3\xa9'], ['\xe9']],
  ['(a|ab)(c|bcd)(d*)', ['abcd', 'acd'], ['abc d']],
  ['(?:/[^/]+)*', ['', '/a/b'], ['/a//b']],
];
for (const [pattern, yes, no] of MATCHES) {
  test(`pattern ${JSON.stringify(pattern)}`, () => {
    const regex = compileRegex(pattern);
    const program = new Re2Program(parseRe2(pattern));
    for (const text of yes) {
      assert.equal(regex.match(text), true, JSON.stringify(text));
      assert.notEqual(program.exec(text, 0, true), null, `linear: ${JSON.stringify(text)}`);
    }
    for (const text of no) {
      assert.equal(regex.match(text), false, JSON.stringify(text));
      assert.equal(program.exec(text, 0, true), null, `linear: ${JSON.stringify(text)}`);
    }
  });
}

const ERRORS: [pattern: string, text: string][] = [
  ['(', 'missing ): ('],
  ['a)', 'unexpected ): a)'],
  ['[a', 'missing ]: [a'],
  ['[b-a]', 'invalid character class range: b-a'],
  ['[[:foo:]]', 'invalid character class range: [:foo:]'],
  ['*', 'no argument for repetition operator: *'],
  ['a|+', 'no argument for repetition operator: +'],
  ['a**', 'bad repetition operator: **'],
  ['a{2}{3}', 'bad repetition operator: {2}{3}'],
  ['a{1001}', 'invalid repetition size: {1001}'],
  ['a{3,2}', 'invalid repetition size: {3,2}'],
  ['\\', 'trailing \\'],
  ['\\1', 'invalid escape sequence: \\1'],
  ['\\k', 'invalid escape sequence: \\k'],
  ['(?=a)', 'invalid perl operator: (?='],
  ['(?<!a)', 'invalid perl operator: (?<'],
  ['(?P<n>a)(?P<n>b)', 'invalid named capture group: (?P<n>'],
  ['((a{900}){900})', 'pattern too large - compile failed'],
];
for (const [pattern, text] of ERRORS) {
  test(`pattern error ${text}`, () => {
    assert.throws(() => compileRegex(pattern), { name: 'RegexSyntaxError', message: text });
  });
}

const REPLACEMENTS: [pattern: string, substitution: string, text: string, expected: string][] = [
  ['o', 'x', 'foo', 'fxx'],
  ['b*', 'x', 'abc', 'xaxcx'],
  ['', '-', 'ab', '-a-b-'],
  ['(a)(b)?', '[\\2\\1\\0]', 'ab a', '[baab] [aa]'],
  ['\\d+', '\\\\n', 'a12b', 'a\\nb'],
  ['^a', 'x', 'aaa', 'xaa'],
  ['(?:(a)|b)*', '<\\1>', 'ab', '<a>'],
  ['(a+)+$', 'x', 'baa', 'bx'],
];
for (const [pattern, substitution, text, expected] of REPLACEMENTS) {
  test(`replacing ${pattern} by ${substitution} in ${text}`, () => {
    const regex = compileRegex(pattern);
    assert.equal(regex.replaceAll(text, parseSubstitution(substitution, regex.groups)), expected);
  });
}

test('substitution errors', () => {
  assert.throws(() => parseSubstitution('\\', 0), { message: "Rewrite schema error: '\\' not allowed at end." });
  assert.throws(() => parseSubstitution('\\x', 0), {
    message: "Rewrite schema error: '\\' must be followed by a digit or '\\'.",
  });
  assert.throws(() => parseSubstitution('\\3', 2), {
    message: 'Rewrite schema requests 3 matches, but the regexp only has 2 parenthesized subexpressions.',
  });
});

test('patterns that would backtrack for ever end', () => {
  for (const pattern of ['(a+)+', '(a|a)*', '(a|aa)+', '(.*)*x', '(a?){50}a{50}', '.*.*.*.*=']) {
    const text = `${'a'.repeat(20_000)}b`;
    assert.equal(compileRegex(pattern).match(text), false, pattern);
  }
  const regex = compileRegex('(a+)+$');
  const text = `${'a'.repeat(300)}b`.repeat(3);
  assert.equal(regex.replaceAll(text, parseSubstitution('x', 1)), text);
});

const atom = fc.constantFrom('a', 'b', '.', '[ab]', '[^a]', '(a|b)', '(ab)', '(?:a|ab)', '(a*)', '(b+)');
const quantifier = fc.constantFrom('', '', '*', '+', '?', '{2}', '{1,2}', '*?', '+?', '??');
const pattern = fc
  .array(fc.tuple(atom, quantifier), { minLength: 1, maxLength: 4 })
  .map((parts) => parts.map((part) => part.join('')).join(''));
const subject = fc.stringMatching(/^[abc]{0,8}$/);

test('both engines and JavaScript agree on what matches', () => {
  fc.assert(
    fc.property(pattern, subject, (source, text) => {
      const expected = new RegExp(`^(?:${source})$`).test(text);
      assert.equal(compileRegex(source).match(text), expected);
      assert.equal(new Re2Program(parseRe2(source)).exec(text, 0, true) !== null, expected);
      const first = new RegExp(source).exec(text);
      const found = new Re2Program(parseRe2(source)).exec(text, 0, false);
      assert.deepEqual(
        found === null ? null : [found[0], found[1]],
        first === null ? null : [first.index, first.index + first[0].length],
      );
    }),
    { numRuns: 2000 },
  );
});

test('no pattern throws anything but a syntax error', () => {
  const piece = fc.constantFrom(
    '(',
    ')',
    '[',
    ']',
    '{',
    '}',
    '*',
    '+',
    '?',
    '|',
    '\\',
    '^',
    '$',
    '.',
    '-',
    ':',
    '?P<',
    '1',
    'a',
    'é',
    '\\Q',
    '\\E',
    '\\x',
    ',',
    '(?i)',
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 12 }), subject, (pieces, text) => {
      try {
        compileRegex(pieces.join('')).match(text);
      } catch (error) {
        assert.equal((error as Error).name, 'RegexSyntaxError', pieces.join(''));
      }
    }),
    { numRuns: 3000 },
  );
});
