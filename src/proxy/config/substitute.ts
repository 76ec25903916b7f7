/**
 * `${NAME}` and `${NAME:-default}` in configuration text, from environment variables; `$${` stands for `${`. Only when asked for:
 * Envoy does not do this. A variable that is not set and has no default is an error, except in comments.
 */
import type { Diagnostics } from './errors.ts';
import { Source } from './source.ts';

const REFERENCE = /\$?\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}\n]*))?\}/g;

export function substituteVariables(
  name: string,
  text: string,
  env: Record<string, string | undefined>,
  diagnostics: Diagnostics,
): Source {
  const original = new Source(name, text);
  const pieces: { start: number; length: number; originalStart: number; originalLength: number }[] = [];
  let result = '';
  let end = 0;
  for (const match of text.matchAll(REFERENCE)) {
    const value = replacement(match, original, env, diagnostics);
    result += text.slice(end, match.index);
    pieces.push({ start: result.length, length: value.length, originalStart: match.index, originalLength: match[0].length });
    result += value;
    end = match.index + match[0].length;
  }
  result += text.slice(end);
  return new Source(name, result, { original: text, originalOffset });

  function originalOffset(offset: number): number {
    let shift = 0;
    for (const piece of pieces) {
      if (offset < piece.start) break;
      if (offset < piece.start + piece.length) return piece.originalStart;
      shift = piece.originalStart + piece.originalLength - (piece.start + piece.length);
    }
    return offset + shift;
  }
}

function replacement(
  match: RegExpExecArray,
  source: Source,
  env: Record<string, string | undefined>,
  diagnostics: Diagnostics,
): string {
  const [whole, variable, fallback] = match;
  if (whole.startsWith('$$')) return whole.slice(1);
  const value = env[variable];
  // As in a shell, `:-` also replaces an empty value.
  const chosen = fallback !== undefined && (value === undefined || value === '') ? fallback : value;
  if (chosen === undefined) {
    if (!isInComment(source.text, match.index)) {
      diagnostics.error(
        `environment variable ${variable} is not set and has no default (\${${variable}:-default})`,
        source.where(match.index),
      );
    }
    return whole;
  }
  if (/[\r\n]/.test(chosen)) {
    diagnostics.error(`the value of environment variable ${variable} has line breaks`, source.where(match.index));
    return whole;
  }
  return chosen;
}

/** A `#` at the line's start or after white space, outside quotes. */
function isInComment(text: string, offset: number): boolean {
  const line = text.slice(text.lastIndexOf('\n', offset - 1) + 1, offset);
  let quote = '';
  for (let index = 0; index < line.length; index++) {
    const character = line[index];
    if (quote !== '') {
      if (character === quote) quote = '';
    } else if (character === '"' || character === "'") {
      quote = character;
    } else if (character === '#' && (index === 0 || /\s/.test(line[index - 1]))) {
      return true;
    }
  }
  return false;
}
