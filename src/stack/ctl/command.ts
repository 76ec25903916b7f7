/** What a command of the stack's command line is, and what it can answer. */
import type { NetStack } from '../graph/net_stack.ts';
import type { HostStack } from '../host_stack.ts';

/** Becomes JSON for programs, and a table for people. */
export type Value = Record<string, unknown>[] | Record<string, unknown>;

export interface Command {
  readonly words: string;
  readonly usage: string;
  run(stack: HostStack, args: string[]): Value | TextValue | CommandError;
}

/** A value that people read in another form than a table. */
export class TextValue {
  readonly value: unknown;
  readonly text: string;

  constructor(value: unknown, text: string) {
    this.value = value;
    this.text = text;
  }
}

export class CommandError {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

/** A command about the network. */
export function onNetwork(
  run: (net: NetStack, args: string[], stack: HostStack) => Value | TextValue | CommandError,
): Command['run'] {
  return (stack, args) =>
    stack.network === null ? new CommandError('the stack has no network') : run(stack.network.stack, args, stack);
}

/** `name value` pairs and bare words of `args`; null when a word is neither a flag nor a name, or a value is missing. */
export function parseWords(
  args: readonly string[],
  names: readonly string[],
  flags: readonly string[] = [],
): Map<string, string> | null {
  const found = new Map<string, string>();
  for (let i = 0; i < args.length; i++) {
    if (flags.includes(args[i])) found.set(args[i], '');
    else if (names.includes(args[i]) && i + 1 < args.length) found.set(args[i], args[++i]);
    else return null;
  }
  return found;
}

/** A whole number from 1, or null. */
export function positive(text: string): number | null {
  return /^[1-9]\d{0,14}$/.test(text) ? Number(text) : null;
}
