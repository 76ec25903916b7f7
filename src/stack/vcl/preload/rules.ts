/**
 * Which sockets of a program go to the host stack. A rule is a line of text:
 *
 *     connect 10.0.0.0/8:5432 stack        listen *:80-443 kernel        connect [fd00::]/8 auto
 *
 * that is: `connect` or `listen`; an address, prefix or `*`, with an optional port or range; and who gets it. The first rule that matches
 * decides. `auto` (connects only) asks the stack first and the kernel when nobody answers there.
 */
import { isIP } from 'node:net';

export type Verdict = 'stack' | 'kernel' | 'auto';
export type Operation = 'connect' | 'listen';

export interface Rule {
  readonly operation: Operation;
  /** Null: any address. */
  readonly prefix: { readonly family: 4 | 6; readonly bits: bigint; readonly length: number } | null;
  readonly firstPort: number;
  readonly lastPort: number;
  readonly verdict: Verdict;
  readonly text: string;
}

/** What follows the rules that are given: a server is on the stack, a client goes where its server is. */
export const DEFAULT_RULES = ['connect * auto', 'listen * stack'] as const;

const VERDICTS: Record<Operation, readonly Verdict[]> = { connect: ['stack', 'kernel', 'auto'], listen: ['stack', 'kernel'] };

/** Throws an Error that says what is wrong. */
export function parseRule(text: string): Rule {
  const [operation, where, verdict, ...rest] = text.trim().split(/\s+/);
  if (operation !== 'connect' && operation !== 'listen') throw new Error(`rule '${text}' must start with connect or listen`);
  if (where === undefined || verdict === undefined || rest.length > 0) {
    throw new Error(`rule '${text}' must be: ${operation} ADDRESS[/LENGTH][:PORT[-PORT]] VERDICT`);
  }
  if (!VERDICTS[operation].includes(verdict as Verdict)) {
    throw new Error(`rule '${text}': '${verdict}' is not one of ${VERDICTS[operation].join(', ')}`);
  }
  const parts = /^(\*|\[[0-9a-fA-F:.]+\]|[0-9.]+)(?:\/(\d+))?(?::(\d+)(?:-(\d+))?)?$/.exec(where);
  if (parts === null) throw new Error(`rule '${text}': '${where}' is not ADDRESS[/LENGTH][:PORT[-PORT]] (IPv6 in brackets)`);
  const [, address, length, first, last] = parts;
  const firstPort = first === undefined ? 0 : Number(first);
  const lastPort = last !== undefined ? Number(last) : first === undefined ? 65_535 : firstPort;
  if (firstPort > lastPort || lastPort > 65_535) throw new Error(`rule '${text}': bad ports`);
  return { operation, prefix: parsePrefix(text, address, length), firstPort, lastPort, verdict: verdict as Verdict, text };
}

/** The verdict for an IP address and port. */
export function decide(rules: readonly Rule[], operation: Operation, ip: string, port: number): Verdict {
  const family = isIP(ip);
  let bits: bigint | null = null;
  for (const rule of rules) {
    if (rule.operation !== operation || port < rule.firstPort || port > rule.lastPort) continue;
    if (rule.prefix === null) return rule.verdict;
    if (rule.prefix.family !== family) continue;
    bits ??= addressBits(ip);
    const shift = BigInt((family === 4 ? 32 : 128) - rule.prefix.length);
    if (bits >> shift === rule.prefix.bits >> shift) return rule.verdict;
  }
  return operation === 'connect' ? 'auto' : 'stack';
}

/** As the preload library of native programs reads them (native/ldp/ldp_rules.c), a line each. */
export function nativeRules(rules: readonly Rule[]): string {
  return rules
    .map(({ operation, prefix, firstPort, lastPort, verdict }) => {
      const bits = prefix === null ? 0n : prefix.family === 4 ? prefix.bits << 96n : prefix.bits;
      const address = bits.toString(16).padStart(32, '0');
      return `${operation} ${prefix?.family ?? 0} ${address} ${prefix?.length ?? 0} ${firstPort} ${lastPort} ${verdict}\n`;
    })
    .join('');
}

function parsePrefix(text: string, address: string, length: string | undefined): Rule['prefix'] {
  if (address === '*') {
    if (length !== undefined) throw new Error(`rule '${text}': * has no length`);
    return null;
  }
  const ip = address.replace(/^\[|\]$/g, '');
  const family = isIP(ip);
  const most = family === 4 ? 32 : 128;
  const bits = length === undefined ? most : Number(length);
  if (family === 0 || bits > most) throw new Error(`rule '${text}': '${address}' is not an address with prefix length`);
  return { family: family as 4 | 6, bits: addressBits(ip), length: bits };
}

function addressBits(ip: string): bigint {
  if (isIP(ip) === 4) return ip.split('.').reduce((bits, part) => (bits << 8n) | BigInt(part), 0n);
  let body = ip.split('%')[0];
  const v4 = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(body);
  if (v4 !== null) {
    const low = addressBits(v4[2]);
    body = `${v4[1]}${(low >> 16n).toString(16)}:${(low & 0xffffn).toString(16)}`;
  }
  const [left, right] = body.split('::');
  const head = left === '' ? [] : left.split(':');
  const tail = right === undefined || right === '' ? [] : right.split(':');
  const groups = [...head, ...Array.from({ length: 8 - head.length - tail.length }, () => '0'), ...tail];
  return groups.reduce((bits, group) => (bits << 16n) | BigInt(`0x${group}`), 0n);
}
