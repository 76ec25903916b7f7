/**
 * YAML or JSON text -> a tree of maps, lists and scalars with their positions. Follows Envoy's reading of YAML: keys tagged `!ignore`
 * are dropped, anchors and aliases are followed, only the first document counts (a second one is refused here). Merge keys (`<<`)
 * work too. Limits: depth and size, so that no text can exhaust the process.
 */
import { Alias, isAlias, isMap, isScalar, isSeq, type Node, type Pair, parseAllDocuments, Scalar } from 'yaml';
import type { Diagnostics } from './errors.ts';
import { resolvePlainScalar } from './scalar.ts';
import type { ConfigNode, MapEntry, Position, Source } from './source.ts';

export type TextFormat = 'yaml' | 'json';

/** Undefined when the text cannot be read; `diagnostics` then says why. */
export function parseText(source: Source, format: TextFormat, diagnostics: Diagnostics): ConfigNode | undefined {
  if (format === 'json' && !isJson(source, diagnostics)) return undefined;
  try {
    return new TextReader(source, format, diagnostics).read();
  } catch (error) {
    // The parser recurses: text that nests deeper than the stack ends here.
    if (!(error instanceof RangeError || error instanceof Unreadable)) throw error;
    const offset = error instanceof Unreadable ? error.offset : 0;
    const reason = error instanceof Unreadable ? error.message : 'nested too deeply';
    diagnostics.error(`Unable to read ${format.toUpperCase()}: ${reason}`, source.where(offset));
    return undefined;
  }
}

const MAX_DEPTH = 200;

class Unreadable extends Error {
  readonly offset: number;

  constructor(reason: string, offset: number) {
    super(reason);
    this.offset = offset;
  }
}

function isJson(source: Source, diagnostics: Diagnostics): boolean {
  try {
    JSON.parse(source.text);
    return true;
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    const text = reason.replace(/ \(line \d+ column \d+\)$/, '').replace(/, (\.\.\.)?".*"(\.\.\.)? is not valid JSON$/s, '');
    diagnostics.error(`Unable to read JSON: ${text}`, source.where(jsonErrorOffset(reason, source.text)));
    return false;
  }
}

/** V8 tells the position, or shows the ten characters around it, or (at the very end) neither. */
function jsonErrorOffset(reason: string, text: string): number {
  const position = /at position (\d+)/.exec(reason)?.[1];
  if (position !== undefined) return Number(position);
  const shown = /^Unexpected token '(.+)', (\.\.\.)?"(.*)"(?:\.\.\.)? is not valid JSON$/s.exec(reason);
  if (shown === null) return text.length;
  const [, token, before, around] = shown;
  return before === undefined ? Math.max(0, text.indexOf(token)) : text.indexOf(around) + 10;
}

class TextReader {
  private readonly source: Source;
  private readonly format: TextFormat;
  private readonly diagnostics: Diagnostics;
  private readonly anchors = new Map<string, ConfigNode>();
  private depth = 0;

  constructor(source: Source, format: TextFormat, diagnostics: Diagnostics) {
    this.source = source;
    this.format = format;
    this.diagnostics = diagnostics;
  }

  read(): ConfigNode | undefined {
    const documents = parseAllDocuments(this.source.text, {
      schema: 'failsafe',
      prettyErrors: false,
      logLevel: 'silent',
      strict: true,
      uniqueKeys: false,
      keepSourceTokens: false,
    });
    const [document, ...others] = 'empty' in documents ? [] : documents;
    const errors = [document, ...others].flatMap((each) => each?.errors ?? []);
    if (errors.length > 0) {
      // Only the first one: after it the parser has lost its place, and most of what it says follows from it.
      const first = errors.reduce((a, b) => (b.pos[0] < a.pos[0] ? b : a));
      throw new Unreadable(first.message.startsWith('Maximum call stack') ? 'nested too deeply' : first.message, first.pos[0]);
    }
    const second = others.find((other) => other.contents !== null && !isEmptyScalar(other.contents));
    if (second !== undefined) throw new Unreadable('only one document is allowed', second.range[0]);
    if (document === undefined || document.contents === null) return this.scalar(null, '', 0);
    return this.node(document.contents);
  }

  private node(node: Node | null, offset = 0): ConfigNode {
    if (node === null) return this.scalar(null, '', offset);
    const at = node.range?.[0] ?? offset;
    if (++this.depth > MAX_DEPTH) throw new Unreadable('nested too deeply', at);
    const result = this.convert(node, at);
    this.depth--;
    const anchor = isAlias(node) ? undefined : (node as { anchor?: string }).anchor;
    if (anchor !== undefined) this.anchors.set(anchor, result);
    return result;
  }

  private convert(node: Node, at: number): ConfigNode {
    if (node instanceof Alias) {
      const target = this.anchors.get(node.source);
      if (target === undefined) throw new Unreadable(`unknown anchor '${node.source}'`, at);
      return target;
    }
    if (isScalar(node)) return this.resolve(node, at);
    if (isSeq(node)) return { kind: 'list', at: this.position(at), items: node.items.map((item) => this.node(asNode(item), at)) };
    if (isMap(node)) return this.map(node.items, at);
    throw new Unreadable('unexpected kind of value', at);
  }

  private map(pairs: readonly Pair[], at: number): ConfigNode {
    const entries = new Map<string, MapEntry>();
    const merged: MapEntry[] = [];
    for (const pair of pairs) {
      const key = asNode(pair.key);
      const keyOffset = key?.range?.[0] ?? at;
      const value = this.node(asNode(pair.value), key?.range?.[2] ?? at);
      if (key !== null && 'tag' in key && key.tag === '!ignore') continue;
      const text = this.keyText(key, keyOffset);
      const keyAt = this.position(keyOffset);
      if (text === '<<' && this.format === 'yaml' && isScalar(key) && key.type === Scalar.PLAIN) {
        merged.push(...this.mergeEntries(value, keyOffset));
      } else if (entries.has(text)) {
        this.diagnostics.error(
          `Unable to read ${this.format.toUpperCase()}: key '${text}' is there twice`,
          this.source.where(keyOffset),
        );
      } else {
        entries.set(text, { key: text, keyAt, value });
      }
    }
    for (const entry of merged) if (!entries.has(entry.key)) entries.set(entry.key, entry);
    return { kind: 'map', at: this.position(at), entries: [...entries.values()] };
  }

  private keyText(key: Node | null, offset: number): string {
    const node = key === null ? null : this.node(key, offset);
    if (node === null || node.kind !== 'scalar') throw new Unreadable('a key must be a name', offset);
    return node.text;
  }

  /** Of several merged maps the first one that has a key wins. */
  private mergeEntries(value: ConfigNode, offset: number): readonly MapEntry[] {
    if (value.kind === 'map') return value.entries;
    if (value.kind === 'list' && value.items.every((item) => item.kind === 'map'))
      return value.items.flatMap((item) => item.entries);
    throw new Unreadable('a merge key needs a map or a list of maps', offset);
  }

  private resolve(node: Scalar, at: number): ConfigNode {
    const text = node.value === null || node.value === undefined ? '' : String(node.value);
    if (node.type !== Scalar.PLAIN || node.tag === '!' || node.tag === 'tag:yaml.org,2002:str') {
      return node.type === undefined && text === '' ? this.scalar(null, '', at) : this.scalar(text, text, at);
    }
    if (this.format === 'json') return this.scalar(JSON.parse(text) as number | boolean | null, text, at);
    return this.scalar(resolvePlainScalar(text), text, at);
  }

  private scalar(value: string | number | boolean | null, text: string, at: number): ConfigNode {
    return { kind: 'scalar', at: this.position(at), value, text };
  }

  private position(offset: number): Position {
    return { source: this.source, offset };
  }
}

function asNode(value: unknown): Node | null {
  return (value as Node | null | undefined) ?? null;
}

function isEmptyScalar(node: Node): boolean {
  return isScalar(node) && (node.value === null || node.value === '');
}
