/**
 * JSON log formats (Envoy's JsonFormatter): one line, keys sorted. A string that is exactly one operator becomes that operator's
 * value with its type, and null when there is none; text mixed with operators becomes a string; numbers, booleans and null stay.
 * With `omit_empty_values` a member without a value is left out, and is empty within a mixed string.
 */
import { byteText } from '../common/byte_text.ts';
import type { StreamInfo } from '../stream_info/stream_info.ts';
import type { FormatterContext } from './access_log.ts';
import { type FormatPart, type Formatter, parseParts } from './format_parser.ts';
import { escapeJson, jsonBytes } from './json_text.ts';
import type { Operator } from './operator.ts';

/** Throws ConfigError. */
export function jsonFormatter(members: Record<string, unknown>, omitEmptyValues = false): Formatter {
  const root = compile(members, omitEmptyValues);
  const format = (context: FormatterContext, info: StreamInfo): string => `${root.render(context, info) ?? '{}'}\n`;
  return { format, append: (out, context, info) => out.text(format(context, info)) };
}

interface Node {
  /** JSON text; undefined when there is nothing to print. */
  render(context: FormatterContext, info: StreamInfo): string | undefined;
}

function compile(value: unknown, omit: boolean): Node {
  if (typeof value === 'string') return compileString(value, omit);
  if (Array.isArray(value)) return new ListNode(value.map((element) => compile(element, omit)));
  if (typeof value === 'object' && value !== null) {
    const entries = Object.entries(value).map(([key, member]): [string, Node] => [byteText(key), compile(member, omit)]);
    return new ObjectNode(entries.sort(([a], [b]) => (a < b ? -1 : 1)));
  }
  return new LiteralNode(jsonBytes(value));
}

function compileString(text: string, omit: boolean): Node {
  const parts = parseParts(text);
  if (parts.length === 1 && typeof parts[0] !== 'string') return new OperatorNode(parts[0], omit);
  if (parts.every((part) => typeof part === 'string')) return new LiteralNode(`"${escapeJson(parts.join(''))}"`);
  return new StringNode(parts, omit ? '' : '-');
}

class LiteralNode implements Node {
  private readonly json: string;

  constructor(json: string) {
    this.json = json;
  }

  render(): string {
    return this.json;
  }
}

class OperatorNode implements Node {
  private readonly operator: Operator;
  private readonly missing: string | undefined;

  constructor(operator: Operator, omit: boolean) {
    this.operator = operator;
    this.missing = omit ? undefined : 'null';
  }

  render(context: FormatterContext, info: StreamInfo): string | undefined {
    if (this.operator.json !== undefined) return this.operator.json(context, info) ?? this.missing;
    const value = this.operator.text(context, info);
    if (value === undefined) return this.missing;
    return typeof value === 'number' ? `${value}` : `"${escapeJson(value)}"`;
  }
}

/** Text mixed with operators. */
class StringNode implements Node {
  /** Literals are escaped already. */
  private readonly parts: readonly FormatPart[];
  private readonly missing: string;

  constructor(parts: readonly FormatPart[], missing: string) {
    this.parts = parts.map((part) => (typeof part === 'string' ? escapeJson(part) : part));
    this.missing = missing;
  }

  render(context: FormatterContext, info: StreamInfo): string {
    let json = '"';
    for (const part of this.parts) {
      if (typeof part === 'string') {
        json += part;
        continue;
      }
      const value = part.text(context, info);
      if (value === undefined) json += this.missing;
      else json += typeof value === 'number' ? value : escapeJson(value);
    }
    return `${json}"`;
  }
}

class ListNode implements Node {
  private readonly elements: readonly Node[];

  constructor(elements: readonly Node[]) {
    this.elements = elements;
  }

  render(context: FormatterContext, info: StreamInfo): string {
    let json = '[';
    for (const element of this.elements) {
      const value = element.render(context, info);
      if (value !== undefined) json += json.length === 1 ? value : `,${value}`;
    }
    return `${json}]`;
  }
}

class ObjectNode implements Node {
  /** `"key":` of each member. */
  private readonly keys: readonly string[];
  private readonly members: readonly Node[];

  constructor(entries: readonly (readonly [string, Node])[]) {
    this.keys = entries.map(([key]) => `"${escapeJson(key)}":`);
    this.members = entries.map(([, member]) => member);
  }

  render(context: FormatterContext, info: StreamInfo): string {
    let json = '{';
    for (let i = 0; i < this.members.length; i++) {
      const value = this.members[i].render(context, info);
      if (value === undefined) continue;
      if (json.length > 1) json += ',';
      json += this.keys[i];
      json += value;
    }
    return `${json}}`;
  }
}
