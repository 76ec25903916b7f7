/**
 * The RE2 syntax that Envoy's regular expressions are written in, parsed into a tree over bytes.
 *
 * Sets are 256-bit: text is bytes (see byte_text.ts), and a non-ASCII literal becomes the sequence of its UTF-8 bytes. Case folding
 * (`(?i)`) is done here, for ASCII letters. Errors are RE2's words. Rejected although RE2 knows them: non-ASCII characters inside a
 * set and Unicode classes (`\pN`), because they cannot be sets of bytes.
 */
import type { ByteSet } from './byte_set.ts';
import { add, complement, folded, fullSet, PERL_CLASSES, POSIX_CLASSES, setOf, union } from './byte_set.ts';

export type ReNode =
  | { kind: 'empty' }
  | { kind: 'set'; set: ByteSet }
  | { kind: 'assert'; what: 'begin' | 'end' | 'beginLine' | 'endLine' | 'word' | 'notWord' }
  | { kind: 'concat'; nodes: ReNode[] }
  | { kind: 'alternate'; nodes: ReNode[] }
  | { kind: 'group'; index: number; node: ReNode }
  /** `max` is Infinity when open. */
  | { kind: 'repeat'; node: ReNode; min: number; max: number; greedy: boolean };

export interface ReTree {
  node: ReNode;
  groups: number;
}

/** Why a pattern was refused. */
export class RegexSyntaxError extends Error {
  constructor(text: string) {
    super(text);
    this.name = 'RegexSyntaxError';
  }
}

const MAX_REPEAT = 1000;
const MAX_DEPTH = 200;

/** Parses a whole pattern. Throws RegexSyntaxError. */
export function parseRe2(pattern: string): ReTree {
  const parser = new Parser(pattern);
  const node = parser.alternation(0);
  if (!parser.atEnd()) throw new RegexSyntaxError(`unexpected ): ${pattern}`);
  return { node, groups: parser.groups };
}

interface Flags {
  fold: boolean;
  multiline: boolean;
  dotNl: boolean;
  ungreedy: boolean;
}

class Parser {
  groups = 0;
  private readonly chars: string[];
  private readonly pattern: string;
  private at = 0;
  private flags: Flags = { fold: false, multiline: false, dotNl: false, ungreedy: false };
  private readonly names = new Set<string>();

  constructor(pattern: string) {
    this.pattern = pattern;
    this.chars = Array.from(pattern);
  }

  atEnd(): boolean {
    return this.at >= this.chars.length;
  }

  /** Branches up to `)` or the end. Flags set inside last until there, over `|` too. */
  alternation(depth: number): ReNode {
    if (depth > MAX_DEPTH) throw new RegexSyntaxError('expression nests too deeply');
    const saved = { ...this.flags };
    const branches: ReNode[] = [this.concatenation(depth)];
    while (this.chars[this.at] === '|') {
      this.at++;
      branches.push(this.concatenation(depth));
    }
    this.flags = saved;
    return branches.length === 1 ? branches[0] : { kind: 'alternate', nodes: branches };
  }

  private concatenation(depth: number): ReNode {
    const nodes: ReNode[] = [];
    while (!this.atEnd() && this.chars[this.at] !== '|' && this.chars[this.at] !== ')') {
      const atoms = this.atom(depth);
      if (atoms === null) continue;
      nodes.push(...atoms);
      this.quantifiers(nodes);
    }
    return nodes.length === 1 ? nodes[0] : nodes.length === 0 ? { kind: 'empty' } : { kind: 'concat', nodes };
  }

  /** Applies `* + ? {n,m}` to the last node. */
  private quantifiers(nodes: ReNode[]): void {
    let operators = 0;
    const first = this.at;
    for (;;) {
      const range = this.quantifier();
      if (range === null) return;
      if (++operators > 1) throw new RegexSyntaxError(`bad repetition operator: ${this.text(first, this.at)}`);
      let greedy = !this.flags.ungreedy;
      if (this.chars[this.at] === '?') {
        this.at++;
        greedy = !greedy;
      }
      const node = nodes.pop() ?? { kind: 'empty' };
      nodes.push({ kind: 'repeat', node, min: range[0], max: range[1], greedy });
    }
  }

  private quantifier(): [number, number] | null {
    const c = this.chars[this.at];
    if (c === '*' || c === '+' || c === '?') {
      this.at++;
      return c === '*' ? [0, Number.POSITIVE_INFINITY] : c === '+' ? [1, Number.POSITIVE_INFINITY] : [0, 1];
    }
    return c === '{' ? this.counted() : null;
  }

  /** `{n}`, `{n,}`, `{n,m}`; null when the brace is a literal. */
  private counted(): [number, number] | null {
    const end = this.chars.indexOf('}', this.at);
    if (end < 0) return null;
    const text = this.text(this.at, end + 1);
    const match = /^\{([0-9]{1,9})(,([0-9]{1,9})?)?\}$/.exec(text);
    if (match === null) return null;
    const min = Number(match[1]);
    const max = match[2] === undefined ? min : match[3] === undefined ? Number.POSITIVE_INFINITY : Number(match[3]);
    if (min > MAX_REPEAT || (max !== Number.POSITIVE_INFINITY && (max > MAX_REPEAT || max < min))) {
      throw new RegexSyntaxError(`invalid repetition size: ${text}`);
    }
    this.at = end + 1;
    return [min, max];
  }

  /** One thing that a quantifier may follow (the last node of those returned); null for flags and the like. */
  private atom(depth: number): ReNode[] | null {
    const c = this.chars[this.at];
    switch (c) {
      case '(':
        return this.group(depth);
      case '[':
        return [{ kind: 'set', set: this.charClass() }];
      case '.':
        this.at++;
        return [{ kind: 'set', set: this.flags.dotNl ? fullSet() : complement(setOf('\n')) }];
      case '^':
        this.at++;
        return [{ kind: 'assert', what: this.flags.multiline ? 'beginLine' : 'begin' }];
      case '$':
        this.at++;
        return [{ kind: 'assert', what: this.flags.multiline ? 'endLine' : 'end' }];
      case '*':
      case '+':
      case '?':
        throw new RegexSyntaxError(`no argument for repetition operator: ${c}`);
      case '\\':
        return this.escape();
      case '{': {
        const at = this.at;
        if (this.counted() !== null) throw new RegexSyntaxError(`no argument for repetition operator: ${this.text(at, this.at)}`);
        this.at++;
        return [this.literal('{')];
      }
      default:
        this.at++;
        return [this.literal(c)];
    }
  }

  private group(depth: number): ReNode[] | null {
    const start = this.at++;
    if (this.chars[this.at] !== '?') {
      const index = ++this.groups;
      return [{ kind: 'group', index, node: this.groupBody(depth) }];
    }
    const rest = this.text(this.at, this.chars.length);
    const named = /^\?P?<([^>]*)>/.exec(rest);
    if (named !== null && !/^\?<[=!]/.test(rest)) {
      if (!/^[A-Za-z0-9_]+$/.test(named[1]) || this.names.has(named[1])) {
        throw new RegexSyntaxError(`invalid named capture group: (${named[0]}`);
      }
      this.names.add(named[1]);
      this.at += Array.from(named[0]).length;
      const index = ++this.groups;
      return [{ kind: 'group', index, node: this.groupBody(depth) }];
    }
    return this.flagGroup(depth, start);
  }

  /** `(?flags)` or `(?flags:...)`. */
  private flagGroup(depth: number, start: number): ReNode[] | null {
    const flags = { ...this.flags };
    let on = true;
    let any = false;
    for (this.at++; ; this.at++) {
      const c = this.chars[this.at];
      if (c === undefined) throw new RegexSyntaxError(`missing ): ${this.pattern}`);
      if (c === 'i') flags.fold = on;
      else if (c === 'm') flags.multiline = on;
      else if (c === 's') flags.dotNl = on;
      else if (c === 'U') flags.ungreedy = on;
      else if (c === '-' && on) {
        on = false;
        any = false;
        continue;
      } else if ((c === ':' || c === ')') && (on || any)) {
        this.at++;
        if (c === ')') {
          this.flags = flags;
          return null;
        }
        const saved = this.flags;
        this.flags = flags;
        const node = this.groupBody(depth);
        this.flags = saved;
        return [node];
      } else throw new RegexSyntaxError(`invalid perl operator: ${this.text(start, this.at + 1)}`);
      any = true;
    }
  }

  private groupBody(depth: number): ReNode {
    const node = this.alternation(depth + 1);
    if (this.chars[this.at] !== ')') throw new RegexSyntaxError(`missing ): ${this.pattern}`);
    this.at++;
    return node;
  }

  private escape(): ReNode[] | null {
    const c = this.chars[this.at + 1];
    if (c === undefined) throw new RegexSyntaxError('trailing \\');
    const assertion = ASSERTIONS[c];
    if (assertion !== undefined) {
      this.at += 2;
      return [{ kind: 'assert', what: assertion }];
    }
    if (c === 'Q') return this.quoted();
    if (c === 'E') {
      this.at += 2;
      return null;
    }
    if (c === 'C') {
      this.at += 2;
      return [{ kind: 'set', set: fullSet() }];
    }
    const perl = PERL_CLASSES[c];
    if (perl !== undefined) {
      this.at += 2;
      return [{ kind: 'set', set: perl }];
    }
    return [this.literal(this.escapedChar())];
  }

  /** `\Q...\E`. */
  private quoted(): ReNode[] | null {
    this.at += 2;
    const nodes: ReNode[] = [];
    while (!this.atEnd() && !(this.chars[this.at] === '\\' && this.chars[this.at + 1] === 'E')) {
      nodes.push(this.literal(this.chars[this.at++]));
    }
    if (!this.atEnd()) this.at += 2;
    return nodes.length === 0 ? null : nodes;
  }

  /** The character that the escape at hand stands for. */
  private escapedChar(): string {
    const start = this.at;
    const c = this.chars[this.at + 1];
    if (c === undefined) throw new RegexSyntaxError('trailing \\');
    this.at += 2;
    if (c === 'x') return this.hexChar(start);
    if (c >= '0' && c <= '7') {
      // A single digit other than 0 would be a backreference.
      const digits = /^[0-7]{1,3}/.exec(this.text(start + 1, start + 4))![0];
      if (c !== '0' && digits.length === 1) throw new RegexSyntaxError(`invalid escape sequence: ${this.text(start, this.at)}`);
      this.at = start + 1 + digits.length;
      return String.fromCodePoint(Number.parseInt(digits, 8));
    }
    const control = CONTROL_ESCAPES[c];
    if (control !== undefined) return control;
    if (c === 'p' || c === 'P')
      throw new RegexSyntaxError(`Unicode character classes are not supported: ${this.text(start, this.at + 1)}`);
    if (/[A-Za-z0-9]/.test(c) || c.codePointAt(0)! > 0x7f) {
      throw new RegexSyntaxError(`invalid escape sequence: ${this.text(start, this.at)}`);
    }
    return c;
  }

  private hexChar(start: number): string {
    const match = /^\\x(?:\{([0-9A-Fa-f]{1,6})\}|([0-9A-Fa-f]{2}))/.exec(this.text(start, start + 12));
    const code = match === null ? -1 : Number.parseInt(match[1] ?? match[2], 16);
    if (match === null || code > 0x10ffff) {
      throw new RegexSyntaxError(`invalid escape sequence: ${this.text(start, Math.min(start + 4, this.chars.length))}`);
    }
    this.at = start + match[0].length;
    return String.fromCodePoint(code);
  }

  private charClass(): ByteSet {
    const start = this.at++;
    const negated = this.chars[this.at] === '^';
    if (negated) this.at++;
    let set = new Uint32Array(8);
    for (let first = true; first || this.chars[this.at] !== ']'; first = false) {
      if (this.atEnd()) throw new RegexSyntaxError(`missing ]: ${this.text(start, this.chars.length)}`);
      const named = this.namedClass();
      if (named !== null) {
        union(set, named);
        continue;
      }
      const low = this.classChar();
      let high = low;
      if (this.chars[this.at] === '-' && this.chars[this.at + 1] !== ']' && this.at + 1 < this.chars.length) {
        const at = this.at++;
        high = this.classChar();
        if (high < low) throw new RegexSyntaxError(`invalid character class range: ${this.text(at - 1, this.at)}`);
      }
      for (let byte = low; byte <= high; byte++) add(set, byte);
    }
    this.at++;
    if (this.flags.fold) set = folded(set);
    // A negated set matches newlines too, as RE2's.
    return negated ? complement(set) : set;
  }

  /** `[:alpha:]`, `[:^alpha:]`, `\d` and the like inside a set. */
  private namedClass(): ByteSet | null {
    if (this.chars[this.at] === '[' && this.chars[this.at + 1] === ':') {
      const match = /^\[:(\^?)([a-z]*):\]/.exec(this.text(this.at, this.at + 14));
      if (match === null) return null;
      const ranges = POSIX_CLASSES[match[2]];
      if (ranges === undefined) throw new RegexSyntaxError(`invalid character class range: ${match[0]}`);
      this.at += match[0].length;
      return match[1] === '^' ? complement(setOf(ranges)) : setOf(ranges);
    }
    if (this.chars[this.at] !== '\\') return null;
    const c = this.chars[this.at + 1];
    const perl = c === undefined ? undefined : PERL_CLASSES[c];
    if (perl === undefined) return null;
    this.at += 2;
    return perl;
  }

  private classChar(): number {
    if (this.atEnd()) throw new RegexSyntaxError(`missing ]: ${this.pattern}`);
    const c = this.chars[this.at] === '\\' ? this.escapedChar() : this.chars[this.at++];
    const code = c.codePointAt(0)!;
    if (code > 0x7f) throw new RegexSyntaxError(`characters beyond ASCII are not supported in a character class: ${c}`);
    return code;
  }

  /** A literal character: a byte, or the sequence of its UTF-8 bytes. */
  private literal(c: string): ReNode {
    const code = c.codePointAt(0)!;
    if (code <= 0x7f) {
      const set = new Uint32Array(8);
      add(set, code);
      return { kind: 'set', set: this.flags.fold ? folded(set) : set };
    }
    const nodes: ReNode[] = [];
    for (const byte of Buffer.from(c, 'utf8')) {
      const set = new Uint32Array(8);
      add(set, byte);
      nodes.push({ kind: 'set', set });
    }
    return { kind: 'concat', nodes };
  }

  private text(from: number, to: number): string {
    return this.chars.slice(from, to).join('');
  }
}

const ASSERTIONS: Record<string, 'begin' | 'end' | 'word' | 'notWord' | undefined> = {
  A: 'begin',
  z: 'end',
  b: 'word',
  B: 'notWord',
};

const CONTROL_ESCAPES: Record<string, string | undefined> = { a: '\x07', f: '\f', n: '\n', r: '\r', t: '\t', v: '\v' };
