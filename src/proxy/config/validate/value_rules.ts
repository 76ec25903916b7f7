/** Single values against protoc-gen-validate's rules. Each check returns what is wrong in PGV's words, or undefined. */

import { isIP, isIPv4, isIPv6 } from 'node:net';
import { ScalarType } from '@bufbuild/protobuf';
import type { ReflectMessage } from '@bufbuild/protobuf/reflect';
import type { Duration } from '@bufbuild/protobuf/wkt';
import type { Rule } from './rules.ts';

export function checkScalar(type: ScalarType, rule: Rule, value: unknown): string | undefined {
  switch (type) {
    case ScalarType.STRING:
      return checkString(rule, value as string);
    case ScalarType.BYTES:
      return checkBytes(rule, value as Uint8Array);
    case ScalarType.BOOL:
      return rule.const !== undefined && value !== rule.const ? `value must equal ${rule.const}` : undefined;
    default:
      if (rule.ignoreEmpty === true && Number(value) === 0) return undefined;
      return checkOrder(rule, value as number | bigint, (limit) => limit as number | bigint);
  }
}

export function checkEnum(rule: Rule, value: number, isDefined: boolean): string | undefined {
  if (rule.definedOnly === true && !isDefined) return 'value must be one of the defined enum values';
  return checkMembership(rule, value);
}

export function checkDuration(rule: Rule, value: Duration): string | undefined {
  const asNanos = (duration: unknown) => {
    const { seconds, nanos } =
      'message' in (duration as ReflectMessage) ? ((duration as ReflectMessage).message as Duration) : (duration as Duration);
    return seconds * 1_000_000_000n + BigInt(nanos);
  };
  return checkOrder(rule, asNanos(value), asNanos, (nanos) => `${Number(nanos) / 1e9}s`);
}

export function checkAny(rule: Rule, typeUrl: string): string | undefined {
  const { in: allowed, notIn: forbidden } = rule as { in?: string[]; notIn?: string[] };
  if (allowed !== undefined && allowed.length > 0 && !allowed.includes(typeUrl))
    return `type URL must be in list [${allowed.join(' ')}]`;
  if (forbidden?.includes(typeUrl)) return `type URL must not be in list [${forbidden.join(' ')}]`;
  return undefined;
}

/** const, in, not_in and the four comparisons. When the upper limit is below the lower one, the range between them is excluded. */
function checkOrder<T extends number | bigint>(
  rule: Rule,
  value: T,
  limitOf: (limit: unknown) => T,
  show: (limit: T) => string = (limit) => String(limit),
): string | undefined {
  const limit = (name: string) => (rule[name] === undefined ? undefined : limitOf(rule[name]));
  const constant = limit('const');
  if (constant !== undefined && value !== constant) return `value must equal ${show(constant)}`;
  const [gt, gte, lt, lte] = [limit('gt'), limit('gte'), limit('lt'), limit('lte')];
  const low = gt ?? gte;
  const high = lt ?? lte;
  const aboveLow = low === undefined || (gt !== undefined ? value > low : value >= low);
  const belowHigh = high === undefined || (lt !== undefined ? value < high : value <= high);
  if (low !== undefined && high !== undefined) {
    const range = `${gt !== undefined ? '(' : '['}${show(low)}, ${show(high)}${lt !== undefined ? ')' : ']'}`;
    if (high < low) return aboveLow || belowHigh ? undefined : `value must be outside range ${range}`;
    return aboveLow && belowHigh ? undefined : `value must be inside range ${range}`;
  }
  if (low !== undefined && !aboveLow) return `value must be greater than ${gt !== undefined ? '' : 'or equal to '}${show(low)}`;
  if (high !== undefined && !belowHigh) return `value must be less than ${lt !== undefined ? '' : 'or equal to '}${show(high)}`;
  const list = (name: string) => (rule[name] as unknown[] | undefined)?.map(limitOf) ?? [];
  return checkMembership({ in: list('in'), notIn: list('notIn') }, value, show);
}

function checkMembership<T>(rule: Rule, value: T, show: (item: T) => string = String): string | undefined {
  const { const: constant, in: allowed, notIn: forbidden } = rule as { const?: T; in?: T[]; notIn?: T[] };
  if (constant !== undefined && constant !== value) return `value must equal ${show(constant)}`;
  if (allowed !== undefined && allowed.length > 0 && !allowed.includes(value))
    return `value must be in list [${allowed.map(show).join(' ')}]`;
  if (forbidden?.includes(value)) return `value must not be in list [${forbidden.map(show).join(' ')}]`;
  return undefined;
}

function checkString(rule: Rule, value: string): string | undefined {
  if (rule.ignoreEmpty === true && value === '') return undefined;
  const text = (name: string) => rule[name] as string | undefined;
  const reason =
    checkMembership(rule, value, JSON.stringify) ??
    checkLength(rule, ['len', 'minLen', 'maxLen'], [...value].length, 'characters') ??
    checkLength(rule, ['lenBytes', 'minBytes', 'maxBytes'], Buffer.byteLength(value), 'bytes');
  if (reason !== undefined) return reason;
  const { prefix, suffix, contains, notContains, pattern } = rule as Record<string, string | undefined>;
  if (prefix !== undefined && !value.startsWith(prefix)) return `value does not have prefix ${JSON.stringify(prefix)}`;
  if (suffix !== undefined && !value.endsWith(suffix)) return `value does not have suffix ${JSON.stringify(suffix)}`;
  if (contains !== undefined && !value.includes(contains)) return `value does not contain substring ${JSON.stringify(contains)}`;
  if (notContains !== undefined && value.includes(notContains)) return `value contains substring ${JSON.stringify(notContains)}`;
  if (pattern !== undefined && !regex(pattern).test(value))
    return `value does not match regex pattern ${JSON.stringify(text('pattern'))}`;
  return checkWellKnown(rule, value);
}

function checkBytes(rule: Rule, value: Uint8Array): string | undefined {
  if (rule.ignoreEmpty === true && value.length === 0) return undefined;
  return checkLength(rule, ['len', 'minLen', 'maxLen'], value.length, 'bytes');
}

function checkLength(
  rule: Rule,
  [exact, min, max]: readonly [string, string, string],
  length: number,
  unit: string,
): string | undefined {
  const limit = (name: string) => (rule[name] === undefined ? undefined : Number(rule[name]));
  const [wanted, least, most] = [limit(exact), limit(min), limit(max)];
  if (wanted !== undefined && length !== wanted) return `value length must be ${wanted} ${unit}`;
  if (least !== undefined && most !== undefined && (length < least || length > most)) {
    return least === most
      ? `value length must be ${least} ${unit}`
      : `value length must be between ${least} and ${most} ${unit}, inclusive`;
  }
  if (least !== undefined && length < least) return `value length must be at least ${least} ${unit}`;
  if (most !== undefined && length > most) return `value length must be at most ${most} ${unit}`;
  return undefined;
}

/** KnownRegex of validate.proto. */
const HTTP_HEADER_NAME = 1;
const HTTP_HEADER_VALUE = 2;

const HEADER_NAME = /^:?[0-9a-zA-Z!#$%&'*+\-.^_|~`]+$/;
const HEADER_VALUE = /^[^\x00-\x08\x0A-\x1F\x7F]*$/;
const NO_LINE_BREAKS = /^[^\x00\x0A\x0D]*$/;

const HOSTNAME =
  /^(?=.{1,253}\.?$)([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*\.?$/;

function checkWellKnown(rule: Rule, value: string): string | undefined {
  if (rule.ip === true && isIP(value) === 0) return 'value must be a valid IP address';
  if (rule.ipv4 === true && !isIPv4(value)) return 'value must be a valid IPv4 address';
  if (rule.ipv6 === true && !isIPv6(value)) return 'value must be a valid IPv6 address';
  if (rule.hostname === true && !HOSTNAME.test(value)) return 'value must be a valid hostname';
  if (rule.address === true && isIP(value) === 0 && !HOSTNAME.test(value)) return 'value must be a valid hostname, or ip address';
  if (rule.uri === true && !URL.canParse(value)) return 'value must be a valid URI';
  if (rule.uriRef === true && !URL.canParse(value, 'http://base.invalid/')) return 'value must be a valid URI reference';
  if (rule.uuid === true && !/^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$/.test(value))
    return 'value must be a valid UUID';
  const known = rule.wellKnownRegex as number | undefined;
  if (known !== HTTP_HEADER_NAME && known !== HTTP_HEADER_VALUE) return undefined;
  const strict = rule.strict !== false;
  const expected = !strict ? NO_LINE_BREAKS : known === HTTP_HEADER_NAME ? HEADER_NAME : HEADER_VALUE;
  return expected.test(value) ? undefined : `value does not match regex pattern ${JSON.stringify(expected.source)}`;
}

const regexes = new Map<string, RegExp>();

/** The API's patterns are simple enough to mean the same in RE2 and here. */
function regex(pattern: string): RegExp {
  let compiled = regexes.get(pattern);
  if (compiled === undefined) {
    compiled = new RegExp(pattern, 'u');
    regexes.set(pattern, compiled);
  }
  return compiled;
}
