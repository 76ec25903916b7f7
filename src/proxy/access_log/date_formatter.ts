/**
 * Dates in log lines (Envoy's DateFormatter: absl::FormatTime plus `%s` and `%1f` to `%9f`).
 *
 * A format becomes a list of pieces once. The default format, ISO 8601 with milliseconds, keeps the text of its last second, so
 * that a line costs one concatenation. Times are wall-clock ms since the epoch, with a fraction where the clock has one.
 * Left out: glibc's flags and widths (`%-d`, `%_H`) and the `%O` modifier, which are printed as they stand.
 */
import type { LineBuffer } from '../../core/buffer/line_buffer.ts';
import { ConfigError } from '../config/error.ts';

export interface DateFormatter {
  format(timeMs: number): string;
  append(out: LineBuffer, timeMs: number): void;
}

/** `format` '' is `%Y-%m-%dT%H:%M:%E3SZ` (with the zone's offset instead of `Z` in local time). Throws ConfigError. */
export function dateFormatter(format: string, local: boolean): DateFormatter {
  if (/%[-_0^#]*[1-9]*[EO]?n/.test(format)) {
    throw new ConfigError('Invalid header configuration. Format string contains newline.');
  }
  if (format === '') return local ? new PatternDate('%Y-%m-%dT%H:%M:%E3S%Ez', true) : new IsoDate();
  return new PatternDate(format, local);
}

const THREE_DIGITS = Array.from({ length: 1000 }, (_, n) => String(n).padStart(3, '0'));
const ISO_ENDS = THREE_DIGITS.map((digits) => `${digits}Z`);

class IsoDate implements DateFormatter {
  private second = Number.NaN;
  /** `2026-01-02T03:04:05.` */
  private start = '';

  format(timeMs: number): string {
    if (Number.isNaN(timeMs)) return '-';
    const second = Math.floor(timeMs / 1000);
    if (second !== this.second) {
      this.second = second;
      this.start = isoSecond(second);
    }
    return this.start + ISO_ENDS[Math.floor(timeMs - second * 1000)];
  }

  append(out: LineBuffer, timeMs: number): void {
    if (Number.isNaN(timeMs)) {
      out.text('-');
      return;
    }
    const second = Math.floor(timeMs / 1000);
    if (second !== this.second) this.format(timeMs);
    out.text(this.start);
    out.text(ISO_ENDS[Math.floor(timeMs - second * 1000)]);
  }
}

function isoSecond(second: number): string {
  const date = new Date(second * 1000);
  return Number.isNaN(date.getTime()) ? '-.' : `${date.toISOString().slice(0, 19)}.`;
}

/** The broken-down time of one moment; reused. */
class Fields {
  readonly local: boolean;
  ms = 0;
  /** Nanoseconds within the second. */
  nanos = 0;
  year = 0;
  month = 0;
  day = 0;
  weekday = 0;
  hour = 0;
  minute = 0;
  second = 0;
  offsetMinutes = 0;

  constructor(local: boolean) {
    this.local = local;
  }

  set(timeMs: number): void {
    const date = new Date(Math.floor(timeMs));
    this.ms = timeMs;
    this.nanos = Math.round((timeMs - Math.floor(timeMs / 1000) * 1000) * 1e6);
    this.offsetMinutes = this.local ? -date.getTimezoneOffset() : 0;
    // Shifted by the offset, the UTC getters give local fields.
    const shifted = new Date(date.getTime() + this.offsetMinutes * 60_000);
    this.year = shifted.getUTCFullYear();
    this.month = shifted.getUTCMonth();
    this.day = shifted.getUTCDate();
    this.weekday = shifted.getUTCDay();
    this.hour = shifted.getUTCHours();
    this.minute = shifted.getUTCMinutes();
    this.second = shifted.getUTCSeconds();
  }

  get yearDay(): number {
    return Math.round((Date.UTC(this.year, this.month, this.day) - Date.UTC(this.year, 0, 1)) / 86_400_000);
  }
}

type Piece = (fields: Fields) => string;

class PatternDate implements DateFormatter {
  private readonly pieces: readonly (string | Piece)[];
  private readonly fields: Fields;
  private last = Number.NaN;
  private text = '';

  constructor(format: string, local: boolean) {
    this.pieces = compile(format);
    this.fields = new Fields(local);
  }

  format(timeMs: number): string {
    if (timeMs === this.last) return this.text;
    this.last = timeMs;
    if (Number.isNaN(new Date(timeMs).getTime())) return (this.text = '-');
    this.fields.set(timeMs);
    let text = '';
    for (const piece of this.pieces) text += typeof piece === 'string' ? piece : piece(this.fields);
    return (this.text = text);
  }

  append(out: LineBuffer, timeMs: number): void {
    out.text(this.format(timeMs));
  }
}

const DAYS = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday'];
const MONTHS = 'January February March April May June July August September October November December'.split(' ');

const two = (n: number): string => (n < 10 ? `0${n}` : `${n}`);
const blankTwo = (n: number): string => (n < 10 ? ` ${n}` : `${n}`);
const hour12 = (fields: Fields): number => fields.hour % 12 || 12;
const clock: Piece = (f) => `${two(f.hour)}:${two(f.minute)}:${two(f.second)}`;
const slashDate: Piece = (f) => `${two(f.month + 1)}/${two(f.day)}/${two(f.year % 100)}`;
const halfDay: Piece = (f) => (f.hour < 12 ? 'AM' : 'PM');

/** One letter after `%`. Meanings as in strftime(3), C locale. */
const SPECIFIERS: Record<string, Piece> = {
  a: (f) => DAYS[f.weekday].slice(0, 3),
  A: (f) => DAYS[f.weekday],
  b: (f) => MONTHS[f.month].slice(0, 3),
  B: (f) => MONTHS[f.month],
  c: (f) => `${DAYS[f.weekday].slice(0, 3)} ${MONTHS[f.month].slice(0, 3)} ${blankTwo(f.day)} ${clock(f)} ${f.year}`,
  C: (f) => two(Math.floor(f.year / 100)),
  d: (f) => two(f.day),
  D: slashDate,
  e: (f) => blankTwo(f.day),
  f: (f) => fraction(f, 9),
  F: (f) => `${f.year}-${two(f.month + 1)}-${two(f.day)}`,
  g: (f) => two(isoWeek(f).year % 100),
  G: (f) => `${isoWeek(f).year}`,
  h: (f) => MONTHS[f.month].slice(0, 3),
  H: (f) => two(f.hour),
  I: (f) => two(hour12(f)),
  j: (f) => String(f.yearDay + 1).padStart(3, '0'),
  k: (f) => blankTwo(f.hour),
  l: (f) => blankTwo(hour12(f)),
  m: (f) => two(f.month + 1),
  M: (f) => two(f.minute),
  p: halfDay,
  P: (f) => halfDay(f).toLowerCase(),
  r: (f) => `${two(hour12(f))}:${two(f.minute)}:${two(f.second)} ${halfDay(f)}`,
  R: (f) => `${two(f.hour)}:${two(f.minute)}`,
  s: (f) => `${Math.floor(f.ms / 1000)}`,
  S: (f) => two(f.second),
  t: () => '\t',
  T: clock,
  u: (f) => `${f.weekday || 7}`,
  U: (f) => two(Math.floor((f.yearDay + 7 - f.weekday) / 7)),
  V: (f) => two(isoWeek(f).week),
  w: (f) => `${f.weekday}`,
  W: (f) => two(Math.floor((f.yearDay + 7 - ((f.weekday + 6) % 7)) / 7)),
  x: slashDate,
  X: clock,
  y: (f) => two(f.year % 100),
  Y: (f) => `${f.year}`,
  z: (f) => offset(f, ''),
  Z: (f) => zoneName(f),
  '%': () => '%',
};

/** `%3f`, `%E3S`, `%E*f`, `%Ez` ... or one letter. */
const SPECIFIER = /%(?:E(\*|[0-9]+)([Sf])|E(\*?z)|E4(Y)|([1-9])f|([a-zA-Z%]))/y;

function compile(format: string): (string | Piece)[] {
  const pieces: (string | Piece)[] = [];
  let literal = '';
  for (let at = 0; at < format.length; ) {
    SPECIFIER.lastIndex = at;
    const match = format[at] === '%' ? SPECIFIER.exec(format) : null;
    const piece = match === null ? undefined : pieceOf(match);
    if (match === null || piece === undefined) {
      literal += format[at++];
      continue;
    }
    if (literal !== '') pieces.push(literal);
    literal = '';
    pieces.push(piece);
    at += match[0].length;
  }
  if (literal !== '') pieces.push(literal);
  return pieces;
}

function pieceOf([, count, unit, zone, year4, digits, letter]: readonly (string | undefined)[]): Piece | undefined {
  if (zone !== undefined) return zone === '*z' ? (f) => `${offset(f, ':')}:00` : (f) => offset(f, ':');
  if (year4 !== undefined) return (f) => String(f.year).padStart(4, '0');
  if (digits !== undefined) return (f) => fraction(f, Number(digits));
  if (letter !== undefined) return Object.hasOwn(SPECIFIERS, letter) ? SPECIFIERS[letter] : undefined;
  const part: Piece = count === '*' ? shortestFraction : (f) => fraction(f, Number(count));
  if (unit === 'f') return count === '*' ? (f) => part(f) || '0' : part;
  return (f) => {
    const decimals = part(f);
    return decimals === '' ? two(f.second) : `${two(f.second)}.${decimals}`;
  };
}

/** The first `digits` decimals of the second, cut off. */
function fraction(fields: Fields, digits: number): string {
  return String(fields.nanos).padStart(9, '0').padEnd(digits, '0').slice(0, digits);
}

function shortestFraction(fields: Fields): string {
  return String(fields.nanos).padStart(9, '0').replace(/0+$/, '');
}

function offset(fields: Fields, separator: string): string {
  const minutes = Math.abs(fields.offsetMinutes);
  return `${fields.offsetMinutes < 0 ? '-' : '+'}${two(Math.floor(minutes / 60))}${separator}${two(minutes % 60)}`;
}

function zoneName(fields: Fields): string {
  if (!fields.local) return 'UTC';
  const parts = new Intl.DateTimeFormat('en-US', { timeZoneName: 'short' }).formatToParts(fields.ms);
  return parts.find((part) => part.type === 'timeZoneName')?.value ?? 'UTC';
}

/** ISO 8601 week: the week of the year's first Thursday is week 1. */
function isoWeek(fields: Fields): { year: number; week: number } {
  const thursday = new Date(Date.UTC(fields.year, fields.month, fields.day + 4 - (fields.weekday || 7)));
  const year = thursday.getUTCFullYear();
  return { year, week: Math.floor((thursday.getTime() - Date.UTC(year, 0, 1)) / (7 * 86_400_000)) + 1 };
}
