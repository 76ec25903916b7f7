/**
 * The grammar of format strings: text, `%OPERATOR%`, `%OPERATOR(params)%`, `%OPERATOR(params):length%`, and `%%` for a percent sign.
 * Left out: the CEL operators, which are refused.
 */
import type { LineBuffer } from '../../core/buffer/line_buffer.ts';
import { byteText } from '../common/byte_text.ts';
import { ConfigError } from '../config/error.ts';
import type { StreamInfo } from '../stream_info/stream_info.ts';
import type { FormatterContext } from './access_log.ts';
import { checkSyntax, type Operator, type OperatorDefinition } from './operator.ts';
import { HTTP_OPERATORS } from './operators_http.ts';
import { STREAM_INFO_OPERATORS } from './operators_stream_info.ts';

export interface Formatter {
  format(context: FormatterContext, info: StreamInfo): string;
  /** Appends what `format` returns to a line. */
  append(out: LineBuffer, context: FormatterContext, info: StreamInfo): void;
}

/** All operators by name. */
export const OPERATORS: Record<string, OperatorDefinition> = { ...HTTP_OPERATORS, ...STREAM_INFO_OPERATORS };

/** A format's parts in order: literal text and operators. */
export type FormatPart = string | Operator;

const COMMAND = /%([A-Z0-9_]+)(?:\((.*?)\))?(?::([0-9]+))?%/y;

export function parseParts(format: string): FormatPart[] {
  const parts: FormatPart[] = [];
  let literal = '';
  for (let position = 0; position < format.length; ) {
    if (format[position] !== '%') {
      literal += format[position++];
      continue;
    }
    if (format[position + 1] === '%') {
      literal += '%';
      position += 2;
      continue;
    }
    COMMAND.lastIndex = position;
    const match = COMMAND.exec(format);
    if (match === null) {
      throw new ConfigError(`Incorrect configuration: ${format}. Couldn't find valid command at position ${position}`);
    }
    if (literal !== '') parts.push(byteText(literal));
    literal = '';
    parts.push(createOperator(match[1], match[2] ?? '', match[3] === undefined ? Number.POSITIVE_INFINITY : Number(match[3])));
    position += match[0].length;
  }
  if (literal !== '') parts.push(byteText(literal));
  return parts;
}

function createOperator(command: string, params: string, maxLength: number): Operator {
  if (command === 'CEL' || command === 'TYPED_CEL') throw new ConfigError(`the operator ${command} is not supported`);
  if (!Object.hasOwn(OPERATORS, command)) throw new ConfigError(`Not supported field in StreamInfo: ${command}`);
  const definition = OPERATORS[command];
  checkSyntax(definition.syntax, command, params, maxLength);
  return definition.create(params, maxLength);
}
