/**
 * Command-line flags as tables: from one table come parsing, `--help` and the errors (unknown flag -> nearest known one).
 */
import { parseArgs } from 'node:util';
import { nearest as nearestName } from '../proxy/config/suggest.ts';

export interface FlagSpec {
  short?: string;
  type: 'string' | 'boolean' | 'integer';
  /** Text in help for the value. */
  value?: string;
  default?: string | number | boolean;
  multiple?: boolean;
  help: string;
}

export type FlagTable = Record<string, FlagSpec>;
export type FlagValues = Record<string, string | number | boolean | string[] | undefined>;

/** A wrong command line: the message is for the user, the exit status 1. */
export class UsageError extends Error {}

/** Parses `args` by `table`; positionals go to `positionals`. Throws UsageError. */
export function parseFlags(
  args: readonly string[],
  table: FlagTable,
  allowPositionals = false,
): { values: FlagValues; positionals: string[] } {
  const options: Record<string, { type: 'string' | 'boolean'; short?: string; multiple?: boolean }> = {};
  for (const [name, spec] of Object.entries(table)) {
    options[name] = {
      type: spec.type === 'boolean' ? 'boolean' : 'string',
      ...(spec.short && { short: spec.short }),
      ...(spec.multiple && { multiple: true }),
    };
  }
  const parsed = parseArgs({ args: [...args], options, strict: false, allowPositionals: true, tokens: true });
  for (const token of parsed.tokens) {
    if (token.kind === 'option' && !(token.name in table)) {
      const near = nearest(token.name, Object.keys(table));
      throw new UsageError(`unknown flag ${token.rawName}${near === undefined ? '' : `; did you mean --${near}?`} (see --help)`);
    }
    if (token.kind === 'option' && table[token.name].type !== 'boolean' && token.value === undefined) {
      throw new UsageError(`${token.rawName} needs a value${table[token.name].value ? ` (${table[token.name].value})` : ''}`);
    }
    if (token.kind === 'option' && table[token.name].type === 'boolean' && token.value !== undefined) {
      throw new UsageError(`${token.rawName} takes no value`);
    }
    if (token.kind === 'positional' && !allowPositionals)
      throw new UsageError(`unexpected argument '${token.value}' (see --help)`);
  }
  const values: FlagValues = {};
  for (const [name, spec] of Object.entries(table)) {
    const given = parsed.values[name] as string | boolean | (string | boolean)[] | undefined;
    if (given === undefined) {
      values[name] = spec.default;
    } else if (spec.type === 'integer') {
      if (typeof given !== 'string' || !/^\d+$/.test(given))
        throw new UsageError(`--${name} needs a whole number, not '${String(given)}'`);
      values[name] = Number(given);
    } else values[name] = given as string | boolean | string[];
  }
  return { values, positionals: parsed.positionals };
}

/** Help text of a table. */
export function formatFlags(table: FlagTable): string {
  const rows = Object.entries(table).map(([name, spec]) => {
    const value = spec.type === 'boolean' ? '' : ` <${spec.value ?? (spec.type === 'integer' ? 'n' : 'text')}>`;
    const fallback = spec.default === undefined || spec.default === false ? '' : ` [${spec.default}]`;
    return [`  ${spec.short ? `-${spec.short}, ` : '    '}--${name}${value}`, `${spec.help}${fallback}`];
  });
  const width = Math.min(44, Math.max(...rows.map(([left]) => left.length)) + 2);
  return rows
    .map(([left, right]) => (left.length + 2 > width ? `${left}\n${' '.repeat(width)}${right}` : left.padEnd(width) + right))
    .join('\n');
}

/** The known word that `word` begins, or else the nearest one, when it is near enough to be a slip. */
export function nearest(word: string, known: readonly string[]): string | undefined {
  const longer = word.length > 2 ? known.find((candidate) => candidate.startsWith(word)) : undefined;
  return longer ?? nearestName(word, known);
}
