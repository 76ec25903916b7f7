/**
 * A regular expression as a program that runs in time linear in the text, whatever the pattern (Pike's machine, as RE2's NFA): all
 * ways of matching advance together, byte by byte, in the order of preference that a backtracking matcher would try them.
 *
 * It serves patterns whose backtracking cost has no good bound; regex.ts decides which.
 */
import type { ByteSet } from './byte_set.ts';
import { hasByte } from './byte_set.ts';
import type { ReNode, ReTree } from './re2_syntax.ts';
import { RegexSyntaxError } from './re2_syntax.ts';

type Assertion = 'begin' | 'end' | 'beginLine' | 'endLine' | 'word' | 'notWord';

type Instruction =
  | { op: 'set'; set: ByteSet; next: number }
  | { op: 'split'; first: number; second: number }
  | { op: 'jump'; next: number }
  | { op: 'save'; slot: number; next: number }
  | { op: 'assert'; what: Assertion; next: number }
  | { op: 'match' };

const MAX_INSTRUCTIONS = 20_000;

export class Re2Program {
  private readonly code: Instruction[] = [];
  readonly groups: number;

  constructor(tree: ReTree) {
    this.groups = tree.groups;
    this.emit(tree.node);
    this.push({ op: 'match' });
  }

  /** Instructions. */
  get size(): number {
    return this.code.length;
  }

  /**
   * Finds the leftmost match at or after `from` (only at `from`, and up to the end of the text, when `anchored`). Returns the
   * positions of group 0, 1 ... (start, end; -1 when unset), or null.
   */
  exec(text: string, from: number, anchored: boolean): Int32Array | null {
    const slots = 2 * (this.groups + 1);
    let current = new Threads(this.code.length);
    let next = new Threads(this.code.length);
    let found: Int32Array | null = null;
    for (let at = from; at <= text.length; at++) {
      if (found === null && (!anchored || at === from)) {
        const captures = new Int32Array(slots).fill(-1);
        captures[0] = at;
        this.follow(current, 0, captures, text, at);
      }
      if (current.size === 0 && (found !== null || anchored)) break;
      const byte = at < text.length ? text.charCodeAt(at) : -1;
      for (let i = 0; i < current.size; i++) {
        const instruction = this.code[current.pcs[i]];
        if (instruction.op === 'match') {
          if (anchored && at < text.length) continue;
          found = current.captures[i].slice();
          found[1] = at;
          break;
        }
        if (instruction.op === 'set' && byte >= 0 && byte < 256 && hasByte(instruction.set, byte)) {
          this.follow(next, instruction.next, current.captures[i], text, at + 1);
        }
      }
      [current, next] = [next, current];
      next.clear();
    }
    return found;
  }

  /** Adds what is reachable from `pc` without reading a byte, in order of preference. */
  private follow(threads: Threads, start: number, captures: Int32Array, text: string, at: number): void {
    const stack: [number, Int32Array][] = [[start, captures]];
    while (stack.length > 0) {
      const [pc, saved] = stack.pop()!;
      if (threads.has(pc)) continue;
      threads.visit(pc);
      const instruction = this.code[pc];
      switch (instruction.op) {
        case 'jump':
          stack.push([instruction.next, saved]);
          break;
        case 'split':
          stack.push([instruction.second, saved], [instruction.first, saved]);
          break;
        case 'save': {
          const copy = saved.slice();
          copy[instruction.slot] = at;
          stack.push([instruction.next, copy]);
          break;
        }
        case 'assert':
          if (holds(instruction.what, text, at)) stack.push([instruction.next, saved]);
          break;
        default:
          threads.add(pc, saved);
      }
    }
  }

  private push(instruction: Instruction): number {
    if (this.code.length >= MAX_INSTRUCTIONS) throw new RegexSyntaxError('pattern too large - compile failed');
    return this.code.push(instruction) - 1;
  }

  private emit(node: ReNode): void {
    switch (node.kind) {
      case 'empty':
        return;
      case 'set':
        this.push({ op: 'set', set: node.set, next: this.code.length + 1 });
        return;
      case 'assert':
        this.push({ op: 'assert', what: node.what, next: this.code.length + 1 });
        return;
      case 'concat':
        for (const part of node.nodes) this.emit(part);
        return;
      case 'group':
        this.push({ op: 'save', slot: node.index * 2, next: this.code.length + 1 });
        this.emit(node.node);
        this.push({ op: 'save', slot: node.index * 2 + 1, next: this.code.length + 1 });
        return;
      case 'alternate':
        this.emitAlternate(node.nodes);
        return;
      case 'repeat':
        this.emitRepeat(node.node, node.min, node.max, node.greedy);
    }
  }

  private emitAlternate(branches: ReNode[]): void {
    const jumps: number[] = [];
    for (let i = 0; i < branches.length - 1; i++) {
      const split = this.push({ op: 'split', first: this.code.length + 1, second: 0 });
      this.emit(branches[i]);
      jumps.push(this.push({ op: 'jump', next: 0 }));
      (this.code[split] as { second: number }).second = this.code.length;
    }
    this.emit(branches[branches.length - 1]);
    for (const jump of jumps) (this.code[jump] as { next: number }).next = this.code.length;
  }

  private emitRepeat(node: ReNode, min: number, max: number, greedy: boolean): void {
    for (let i = 0; i < min; i++) this.emit(node);
    if (max === Number.POSITIVE_INFINITY) {
      const split = this.emitSplit(greedy);
      this.emit(node);
      this.push({ op: 'jump', next: split });
      this.patchSplit(split, greedy);
      return;
    }
    const splits: number[] = [];
    for (let i = min; i < max; i++) {
      splits.push(this.emitSplit(greedy));
      this.emit(node);
    }
    for (const split of splits) this.patchSplit(split, greedy);
  }

  private emitSplit(greedy: boolean): number {
    const body = this.code.length + 1;
    return this.push({ op: 'split', first: greedy ? body : 0, second: greedy ? 0 : body });
  }

  private patchSplit(at: number, greedy: boolean): void {
    const split = this.code[at] as { first: number; second: number };
    if (greedy) split.second = this.code.length;
    else split.first = this.code.length;
  }
}

/** The instructions that are alive at one position, in order, each once. */
class Threads {
  readonly pcs: Int32Array;
  readonly captures: Int32Array[] = [];
  size = 0;
  private readonly marks: Uint32Array;
  private generation = 1;

  constructor(instructions: number) {
    this.pcs = new Int32Array(instructions);
    this.marks = new Uint32Array(instructions);
  }

  has(pc: number): boolean {
    return this.marks[pc] === this.generation;
  }

  visit(pc: number): void {
    this.marks[pc] = this.generation;
  }

  add(pc: number, captures: Int32Array): void {
    this.pcs[this.size] = pc;
    this.captures[this.size++] = captures;
  }

  clear(): void {
    this.size = 0;
    this.generation++;
  }
}

function holds(what: Assertion, text: string, at: number): boolean {
  switch (what) {
    case 'begin':
      return at === 0;
    case 'end':
      return at === text.length;
    case 'beginLine':
      return at === 0 || text.charCodeAt(at - 1) === 10;
    case 'endLine':
      return at === text.length || text.charCodeAt(at) === 10;
    default:
      return (isWord(text, at - 1) !== isWord(text, at)) === (what === 'word');
  }
}

function isWord(text: string, at: number): boolean {
  if (at < 0 || at >= text.length) return false;
  const c = text.charCodeAt(at);
  return (c >= 48 && c <= 57) || (c >= 65 && c <= 90) || c === 95 || (c >= 97 && c <= 122);
}
