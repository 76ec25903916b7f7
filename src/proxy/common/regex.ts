/**
 * Regular expressions of the configuration (`safe_regex`, `regex_rewrite`): RE2 syntax and meaning.
 *
 * Two engines run them. A pattern is translated to a JavaScript RegExp where the number of steps that backtracking can take on the
 * text at hand has a small bound; the bound is computed from the pattern (product of the ways each part can match, `n` per open
 * repetition, none when repetitions nest). Beyond it, the linear machine of re2_program.ts runs. So no pattern and no text from the
 * network can take more than time linear in the text.
 */

import type { ByteSet } from './byte_set.ts';
import { hasByte } from './byte_set.ts';
import { byteText } from './byte_text.ts';
import { Re2Program } from './re2_program.ts';
import type { ReNode, ReTree } from './re2_syntax.ts';
import { parseRe2, RegexSyntaxError } from './re2_syntax.ts';

export { RegexSyntaxError } from './re2_syntax.ts';

/** Steps that a backtracking match may take at most. */
const MAX_STEPS = 1e6;

export interface CompiledRegex {
  readonly pattern: string;
  /** Capturing groups. */
  readonly groups: number;
  /** Instructions of the program; near to RE2's count, not equal to it. */
  readonly programSize: number;
  /** Whether the whole text matches. */
  match(text: string): boolean;
  /** RE2::GlobalReplace: every match replaced by the substitution (`\0` to `\9`, `\\`). */
  replaceAll(text: string, substitution: Substitution): string;
}

/** A parsed substitution: literal text and group numbers. */
export type Substitution = readonly (string | number)[];

/** Compiles a pattern. Throws RegexSyntaxError in RE2's words. */
export function compileRegex(pattern: string): CompiledRegex {
  return new Re2Regex(pattern, parseRe2(pattern));
}

/** Parses a substitution for a regex with so many groups. Throws RegexSyntaxError in RE2's words. */
export function parseSubstitution(text: string, groups: number): Substitution {
  const parts: (string | number)[] = [];
  let literal = '';
  let highest = 0;
  for (let i = 0; i < text.length; i++) {
    const c = text[i];
    if (c !== '\\') {
      literal += c;
      continue;
    }
    const next = text[++i];
    if (next === undefined) throw new RegexSyntaxError("Rewrite schema error: '\\' not allowed at end.");
    if (next === '\\') literal += next;
    else if (next >= '0' && next <= '9') {
      if (literal !== '') parts.push(byteText(literal));
      literal = '';
      parts.push(Number(next));
      highest = Math.max(highest, Number(next));
    } else throw new RegexSyntaxError("Rewrite schema error: '\\' must be followed by a digit or '\\'.");
  }
  if (literal !== '') parts.push(byteText(literal));
  if (highest > groups) {
    throw new RegexSyntaxError(
      `Rewrite schema requests ${highest} matches, but the regexp only has ${groups} parenthesized subexpressions.`,
    );
  }
  return parts;
}

class Re2Regex implements CompiledRegex {
  readonly pattern: string;
  readonly groups: number;
  private readonly program: Re2Program;
  private readonly anchored: RegExp;
  private readonly search: RegExp;
  /** Backtracking steps are at most `factor * n ** degree`. */
  private readonly factor: number;
  private readonly degree: number;
  /** A group inside a repetition keeps its last value in RE2; JavaScript forgets it. */
  private readonly keepsCaptures: boolean;

  constructor(pattern: string, tree: ReTree) {
    this.pattern = pattern;
    this.groups = tree.groups;
    this.program = new Re2Program(tree);
    const source = toJavaScript(tree.node);
    this.anchored = new RegExp(`^(?:${source})$`);
    this.search = new RegExp(source, 'gd');
    this.keepsCaptures = repeatsGroup(tree.node, false);
    const cost = costOf(tree.node);
    this.factor = cost.factor;
    this.degree = cost.degree;
  }

  get programSize(): number {
    return this.program.size;
  }

  match(text: string): boolean {
    if (this.isCheap(text.length, 0)) return this.anchored.test(text);
    return this.program.exec(text, 0, true) !== null;
  }

  replaceAll(text: string, substitution: Substitution): string {
    // A search starts at every position.
    const cheap = !this.keepsCaptures && this.isCheap(text.length, 1);
    let result = '';
    let copied = 0;
    let lastEnd = -1;
    for (let at = 0; at <= text.length; ) {
      const positions = cheap ? this.find(text, at) : this.program.exec(text, at, false);
      if (positions === null) break;
      const [start, end] = positions;
      result += text.slice(copied, start);
      copied = start;
      if (start === end && start === lastEnd) {
        // An empty match right behind the last one does not count.
        if (start >= text.length) break;
        result += text[start];
        copied = start + 1;
        at = start + 1;
        continue;
      }
      result += expand(text, positions, substitution);
      copied = end;
      at = end;
      lastEnd = end;
    }
    return result + text.slice(copied);
  }

  private isCheap(length: number, searches: number): boolean {
    return this.factor * (length + 1) ** (this.degree + searches) <= MAX_STEPS;
  }

  private find(text: string, from: number): number[] | null {
    this.search.lastIndex = from;
    const indices = this.search.exec(text)?.indices;
    return indices === undefined ? null : Array.from(indices).flatMap((range) => range ?? [-1, -1]);
  }
}

function expand(text: string, positions: ArrayLike<number>, substitution: Substitution): string {
  let result = '';
  for (const part of substitution) {
    if (typeof part === 'string') result += part;
    else if (positions[part * 2] >= 0) result += text.slice(positions[part * 2], positions[part * 2 + 1]);
  }
  return result;
}

function repeatsGroup(node: ReNode, repeated: boolean): boolean {
  switch (node.kind) {
    case 'concat':
    case 'alternate':
      return node.nodes.some((part) => repeatsGroup(part, repeated));
    case 'group':
      return repeated || repeatsGroup(node.node, repeated);
    case 'repeat':
      return repeatsGroup(node.node, true);
    default:
      return false;
  }
}

interface Cost {
  factor: number;
  degree: number;
}

/** How many ways a backtracking matcher can go through a node, as factor * n ** degree. */
function costOf(node: ReNode): Cost {
  switch (node.kind) {
    case 'concat':
      return node.nodes
        .map(costOf)
        .reduce((a, b) => ({ factor: a.factor * b.factor, degree: a.degree + b.degree }), { factor: 1, degree: 0 });
    case 'alternate':
      return node.nodes.map(costOf).reduce((a, b) => ({ factor: a.factor + b.factor, degree: Math.max(a.degree, b.degree) }));
    case 'group':
      return costOf(node.node);
    case 'repeat':
      return repeatCost(costOf(node.node), node.min, node.max);
    default:
      return { factor: 1, degree: 0 };
  }
}

function repeatCost(inner: Cost, min: number, max: number): Cost {
  const single = inner.factor === 1 && inner.degree === 0;
  if (max === Number.POSITIVE_INFINITY)
    return single ? { factor: 1, degree: 1 } : { factor: 1, degree: Number.POSITIVE_INFINITY };
  if (single) return { factor: max - min + 1, degree: 0 };
  return { factor: inner.factor ** max * (max - min + 1), degree: inner.degree * max };
}

function toJavaScript(node: ReNode): string {
  switch (node.kind) {
    case 'empty':
      return '(?:)';
    case 'set':
      return setSource(node.set);
    case 'assert':
      return ASSERTION_SOURCE[node.what];
    case 'concat':
      return node.nodes.map(toJavaScript).join('');
    case 'alternate':
      return `(?:${node.nodes.map(toJavaScript).join('|')})`;
    case 'group':
      return `(${toJavaScript(node.node)})`;
    case 'repeat': {
      const range = node.max === Number.POSITIVE_INFINITY ? `{${node.min},}` : `{${node.min},${node.max}}`;
      return `(?:${toJavaScript(node.node)})${range}${node.greedy ? '' : '?'}`;
    }
  }
}

const ASSERTION_SOURCE = {
  begin: '(?<![^])',
  end: '(?![^])',
  beginLine: '(?<![^\\n])',
  endLine: '(?![^\\n])',
  word: '\\b',
  notWord: '\\B',
} as const;

function setSource(set: ByteSet): string {
  let ranges = '';
  for (let byte = 0; byte < 256; byte++) {
    if (!hasByte(set, byte)) continue;
    let last = byte;
    while (last < 255 && hasByte(set, last + 1)) last++;
    ranges += last === byte ? hex(byte) : `${hex(byte)}-${hex(last)}`;
    byte = last;
  }
  return ranges === '\\x00-\\xff' ? '[^]' : `[${ranges}]`;
}

function hex(byte: number): string {
  return `\\x${byte.toString(16).padStart(2, '0')}`;
}
