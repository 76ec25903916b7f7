/** Errors of users' modules, brought back to the file and line that they come from. */
import { fileURLToPath } from 'node:url';

/** What is wrong with a module, or went wrong in it. The message begins with `path:line:column: ` as far as that is known. */
export class ScriptError extends Error {
  readonly file: string;
  /** 0: not known. */
  readonly line: number;
  readonly column: number;
  readonly reason: string;

  constructor(reason: string, file: string, line = 0, column = 0, cause?: unknown) {
    super(`${place(file, line, column)}: ${reason}`, cause === undefined ? undefined : { cause });
    this.name = 'ScriptError';
    this.reason = reason;
    this.file = file;
    this.line = line;
    this.column = column;
  }
}

function place(file: string, line: number, column: number): string {
  return line === 0 ? file : column === 0 ? `${file}:${line}` : `${file}:${line}:${column}`;
}

/** A place in a user's module as stacks show it. */
const FRAME = /(file:\/\/[^\s()]+?)@sluice-\d+:(\d+)(?::(\d+))?/;

/** How a syntax error's stack begins: `path:line`, the text up to that line, marks under what is wrong. */
const SOURCE = /^(?:file:\/\/)?(\/[^\n]*?)(?:@sluice-\d+)?:(\d+)\n(?:[^\n]*\n){1,4}?( *)\^/;

/** Whatever was thrown, with the place in the user's file that is nearest to where it was thrown; `path` when none is in the stack. */
export function toScriptError(error: unknown, path: string): ScriptError {
  if (error instanceof ScriptError) return error;
  if (!(error instanceof Error)) return new ScriptError(`threw ${String(error)}`, path, 0, 0, error);
  const stack = error.stack ?? '';
  if ((error as { code?: unknown }).code === 'ERR_REQUIRE_ASYNC_MODULE') {
    return new ScriptError('it (or what it imports) has top-level await, which modules of extensions cannot have', path);
  }
  const reason = error.message.startsWith(error.name) ? error.message : `${error.name}: ${error.message}`;
  const source = SOURCE.exec(stack);
  if (source !== null) {
    const [, file, line, marks] = source;
    return new ScriptError(reason, file, Number(line), marks.length + 1, error);
  }
  const frame = FRAME.exec(stack);
  if (frame === null) return new ScriptError(reason, path, 0, 0, error);
  return new ScriptError(reason, fileURLToPath(frame[1]), Number(frame[2]), Number(frame[3] ?? 0), error);
}

/** True when a user's module is on the error's stack. */
export function isFromScript(error: unknown): boolean {
  return error instanceof Error && FRAME.test(error.stack ?? '');
}

/** The stack with paths as the user knows them. */
export function cleanStack(error: unknown): string {
  const stack = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return stack.replace(/file:\/\/([^\s()]+?)@sluice-\d+/g, '$1');
}
