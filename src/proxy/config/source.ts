/** Configuration text and places in it. */

/** One text: a file, or the value of `--config-yaml`. */
export class Source {
  readonly name: string;
  readonly text: string;
  /** Turns an offset in `text` into one in the file, when something was substituted in between. */
  private readonly originalOffset: (offset: number) => number;
  private readonly original: string;
  private lineStarts: number[] | undefined;

  constructor(name: string, text: string, substitution?: { original: string; originalOffset: (offset: number) => number }) {
    this.name = name;
    this.text = text;
    this.original = substitution?.original ?? text;
    this.originalOffset = substitution?.originalOffset ?? ((offset) => offset);
  }

  /** One-based line and column of an offset, as `ConfigError` wants them. */
  where(offset: number): { file: string; line: number; column: number } {
    const starts = (this.lineStarts ??= lineStartsOf(this.original));
    const at = this.originalOffset(offset);
    let low = 0;
    let high = starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (starts[middle] <= at) low = middle;
      else high = middle - 1;
    }
    return { file: this.name, line: low + 1, column: at - starts[low] + 1 };
  }
}

function lineStartsOf(text: string): number[] {
  const starts = [0];
  for (let at = text.indexOf('\n'); at !== -1; at = text.indexOf('\n', at + 1)) starts.push(at + 1);
  return starts;
}

export interface Position {
  readonly source: Source;
  readonly offset: number;
}

/** What a value looks like before types are known. */
export type ConfigNode = MapNode | ListNode | ScalarNode;

export interface MapNode {
  readonly kind: 'map';
  readonly at: Position;
  readonly entries: readonly MapEntry[];
}

export interface MapEntry {
  readonly key: string;
  readonly keyAt: Position;
  readonly value: ConfigNode;
}

export interface ListNode {
  readonly kind: 'list';
  readonly at: Position;
  readonly items: readonly ConfigNode[];
}

export interface ScalarNode {
  readonly kind: 'scalar';
  readonly at: Position;
  readonly value: string | number | boolean | null;
  /** As written, for messages. */
  readonly text: string;
}

/** Positions of a message's fields, as a tree beside it: keys are field names in proto form, list indexes, map keys. */
export interface Positions {
  at: Position;
  /** The field's key, for errors about the field rather than its value. */
  keyAt?: Position;
  children: Map<string | number, Positions>;
}

/** A place in a message: its text form and, when it came from text, its positions. */
export interface Place {
  readonly path: string;
  /** Absent below what has no text of its own. */
  readonly positions: Positions | undefined;
  /** The nearest known position. */
  readonly at: Position | undefined;
}

export function fieldPlace(place: Place, name: string): Place {
  return childPlace(place, name, place.path === '' ? name : `${place.path}.${name}`);
}

export function itemPlace(place: Place, index: number): Place {
  return childPlace(place, index, `${place.path}[${index}]`);
}

export function keyPlace(place: Place, key: string): Place {
  return childPlace(place, key, `${place.path}[${JSON.stringify(key)}]`);
}

function childPlace(place: Place, key: string | number, path: string): Place {
  const positions = place.positions?.children.get(key);
  return { path, positions, at: positions?.at ?? place.at };
}

/** For ConfigError. */
export function whereOf(place: Place): { path: string; file?: string; line?: number; column?: number } {
  return { path: place.path, ...place.at?.source.where(place.at.offset) };
}

/** The same, at the field's key. */
export function whereOfKey(place: Place): { path: string; file?: string; line?: number; column?: number } {
  const at = place.positions?.keyAt ?? place.at;
  return { path: place.path, ...at?.source.where(at.offset) };
}
