/**
 * What an operator of a format compiles to. Text is byte text: one character per byte (`common/byte_text.ts`), ready to be written
 * to a file or into a header.
 */
import type { LineBuffer } from '../../core/buffer/line_buffer.ts';
import { ConfigError } from '../config/error.ts';
import type { StreamInfo } from '../stream_info/stream_info.ts';
import type { FormatterContext } from './access_log.ts';

/** `undefined`: there is no value. A number is printed as it is. */
export type TextValue = string | number | undefined;

export interface Operator {
  text(context: FormatterContext, info: StreamInfo): TextValue;
  /** As `text`, appended to a line without a string in between. False: there is no value. */
  readonly append?: (out: LineBuffer, context: FormatterContext, info: StreamInfo) => boolean;
  /** For JSON formats: JSON text, or undefined for null. Without it, `text` is a string or a number there too. */
  readonly json?: (context: FormatterContext, info: StreamInfo) => string | undefined;
}

/** What may stand behind an operator's name. */
export const Syntax = { CommandOnly: 0, ParamsRequired: 1, ParamsOptional: 2, LengthAllowed: 4 } as const;

export interface OperatorDefinition {
  readonly syntax: number;
  /** `params` is the text in parentheses ('' without), `maxLength` Infinity without. Throws ConfigError. */
  create(params: string, maxLength: number): Operator;
}

export function checkSyntax(syntax: number, command: string, params: string, maxLength: number): void {
  const hasLength = maxLength !== Number.POSITIVE_INFINITY;
  if (syntax === Syntax.CommandOnly && (params !== '' || hasLength)) {
    throw new ConfigError(`${command} does not take any parameters or length`);
  }
  if ((syntax & Syntax.ParamsRequired) !== 0 && params === '') throw new ConfigError(`${command} requires parameters`);
  if ((syntax & Syntax.LengthAllowed) === 0 && hasLength) {
    throw new ConfigError(`${command} does not allow length to be specified.`);
  }
}

export function truncate(text: string, maxLength: number): string {
  return text.length > maxLength ? text.slice(0, maxLength) : text;
}

/** An operator without parameters. */
export function simple(text: Operator['text']): OperatorDefinition {
  const operator: Operator = { text };
  return { syntax: Syntax.CommandOnly, create: () => operator };
}
