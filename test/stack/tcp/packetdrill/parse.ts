/**
 * The language of packetdrill scripts, as far as it speaks of TCP over IPv4: times, packets in and out, ICMP errors in, socket calls, and
 * assertions about `tcp_info`. Throws ScriptError with the line for what it does not know: nothing is skipped silently.
 *
 * Ours are `--NAME=VALUE` lines at the head: `--mtu=1500`, `--tolerance_usecs=4000`, and `--tcp.FIELD=VALUE` for fields of TcpConfig. Left
 * out: shell commands, Python beyond comparisons, IPv6, UDP, TCP Fast Open, MD5, several connections at a time.
 */
import { DEFAULT_TCP_CONFIG, type TcpConfig } from '../../../../src/stack/tcp/config.ts';

export class ScriptError extends Error {
  readonly line: number;

  constructor(line: number, message: string) {
    super(`line ${line}: ${message}`);
    this.line = line;
  }
}

export interface TcpOptions {
  mss?: number;
  windowScale?: number;
  sackPermitted?: boolean;
  ts?: [number, number];
  sack?: [number, number][];
}

/** Options as they have to be; `any`: they are not looked at. */
export type WantedOptions = TcpOptions | 'any';

interface Timed {
  line: number;
  /** Microseconds since the start, or since the event before; null: whenever. */
  at: { us: number; relative: boolean } | null;
  /** End of a range of times, in the same way. */
  until: { us: number; relative: boolean } | null;
}

export interface PacketEvent extends Timed {
  kind: 'in' | 'out';
  flags: string;
  seq: number;
  length: number;
  ack: number | null;
  window: number | null;
  urgent: number;
  /** The two bits of ECN; null: not looked at. */
  ecn: number | null;
  options: WantedOptions;
}

/** Destination unreachable, fragmentation needed, about a segment of ours. */
export interface IcmpEvent extends Timed {
  kind: 'icmp';
  code: number;
  mtu: number;
  seq: number;
  length: number;
}

export interface CallEvent extends Timed {
  kind: 'call';
  /** When a call that blocks returns. */
  returns: { us: number; relative: boolean } | null;
  name: string;
  args: string[];
  /** Null: whatever it is. */
  result: number | null;
  errno: string | null;
}

export interface AssertEvent extends Timed {
  kind: 'assert';
  conditions: { name: string; operator: string; value: number }[];
}

export type ScriptEvent = PacketEvent | IcmpEvent | CallEvent | AssertEvent;

export interface PacketScript {
  tcp: Partial<TcpConfig>;
  mtu: number;
  toleranceUs: number;
  events: ScriptEvent[];
}

const NUMBER = String.raw`\d+(?:\.\d+)?|\.\d+`;
const TIME = new RegExp(String.raw`^(\*|\+?(?:${NUMBER}))(?:~(\+?(?:${NUMBER})))?(?:\.\.\.(\+?(?:${NUMBER})))?\s+(.+)$`, 's');
const PACKET =
  /^([<>])\s+(?:\[(\w+)\]\s+)?([FSRPEWUC.]+)\s+(\d+):(\d+)(?:\((\d+)\))?(?:\s+ack\s+(\d+))?(?:\s+win\s+(\d+))?(?:\s+urg\s+(\d+))?(?:\s*<(.*)>)?$/;
const ICMP = /^<\s+icmp\s+unreachable\s+(\w+)(?:\s+mtu\s+(\d+))?\s+\[(\d+):(\d+)(?:\((\d+)\))?\]$/;
const CALL = /^(\w+)\s*\((.*)\)\s*=\s*(\.\.\.|-?(?:0x[\da-f]+|\d+))(?:\s+(E[A-Z]+))?(?:\s*\([^)]*\))?;?$/is;
const CONDITION = /^assert\s+\(?\s*(\w+)\s*(==|!=|<=|>=|<|>)\s*(\d+)\s*\)?(?:\s*,.*)?$/;
const ECN: Readonly<Record<string, number>> = { noecn: 0, ect1: 1, ect0: 2, ce: 3 };
const UNREACHABLE: Readonly<Record<string, number>> = {
  net_unreachable: 0,
  host_unreachable: 1,
  port_unreachable: 3,
  frag_needed: 4,
};

export function parseScript(text: string): PacketScript {
  const script: PacketScript = { tcp: {}, mtu: 1500, toleranceUs: 4000, events: [] };
  for (const { line, text: statement } of statements(text)) {
    if (statement.startsWith('--')) option(script, line, statement);
    else script.events.push(event(line, statement));
  }
  return script;
}

/** One per line, without comments; what is in `%{ }%` or open brackets goes on in the next line. */
function* statements(text: string): Generator<{ line: number; text: string }> {
  const plain = text.replace(/\/\*.*?\*\//gs, (comment) => comment.replace(/[^\n]/g, ' ')).replace(/(^|\s)(\/\/|#).*$/gm, '');
  let from = 0;
  let held = '';
  for (const [i, row] of plain.split('\n').entries()) {
    if (held === '') from = i + 1;
    held = `${held}\n${row}`.trim();
    if (held === '') continue;
    const open = (held.includes('%{') && !held.includes('}%')) || count(held, '(') > count(held, ')');
    if (open) continue;
    yield { line: from, text: held };
    held = '';
  }
  if (held !== '') throw new ScriptError(from, `does not end: ${held}`);
}

function option(script: PacketScript, line: number, text: string): void {
  const [, name, value] = /^--([\w.]+)=(.*)$/.exec(text) ?? [];
  if (name === 'mtu') script.mtu = Number(value);
  else if (name === 'tolerance_usecs') script.toleranceUs = Number(value);
  else if (name?.startsWith('tcp.') && name.slice(4) in DEFAULT_TCP_CONFIG) {
    const before: unknown = DEFAULT_TCP_CONFIG[name.slice(4) as keyof TcpConfig];
    const is = typeof before === 'number' ? Number(value) : typeof before === 'boolean' ? value === 'true' : value;
    Object.assign(script.tcp, { [name.slice(4)]: is });
  } else throw new ScriptError(line, `unknown option: ${text}`);
}

function event(line: number, text: string): ScriptEvent {
  const timed = TIME.exec(text);
  if (timed === null) throw new ScriptError(line, `no time in front of: ${text}`);
  const [, at, until, returns, what] = timed;
  const base = { line, at: timeOf(at), until: until === undefined ? null : timeOf(until) };
  const body = what.trim();
  if (body.startsWith('%{')) return { ...base, kind: 'assert', conditions: conditions(line, body) };
  if (/^<\s+icmp\b/.test(body)) return icmp(base, body);
  if (body.startsWith('<') || body.startsWith('>')) return packet(base, body);
  const call = CALL.exec(body);
  if (call === null) throw new ScriptError(line, `neither a packet, a socket call nor an assertion: ${body}`);
  const [, name, args, result, errno] = call;
  return {
    ...base,
    kind: 'call',
    returns: returns === undefined ? null : timeOf(returns),
    name,
    args: splitArguments(args),
    result: result === '...' ? null : Number(result),
    errno: errno ?? null,
  };
}

function packet(base: Timed, text: string): PacketEvent {
  const match = PACKET.exec(text);
  if (match === null) throw new ScriptError(base.line, `not a packet that is understood: ${text}`);
  const [, direction, ecn, flags, from, to, length, ack, window, urgent, options] = match;
  const bytes = Number(to) - Number(from);
  if (bytes < 0 || (length !== undefined && Number(length) !== bytes))
    throw new ScriptError(base.line, `${from}:${to} is not ${length} bytes`);
  if (ecn !== undefined && ECN[ecn] === undefined) throw new ScriptError(base.line, `unknown mark [${ecn}]`);
  const inbound = direction === '<';
  if (inbound && window === undefined) throw new ScriptError(base.line, 'a packet to the stack needs a window');
  if (flags.includes('.') !== (ack !== undefined)) throw new ScriptError(base.line, "'.' goes with an acknowledgment");
  if (inbound && options === '...') throw new ScriptError(base.line, 'a packet to the stack needs its options');
  return {
    ...base,
    kind: inbound ? 'in' : 'out',
    flags: flags.replace('.', 'A'),
    seq: Number(from),
    length: bytes,
    ack: ack === undefined ? null : Number(ack),
    window: window === undefined ? null : Number(window),
    urgent: Number(urgent ?? 0),
    ecn: ecn === undefined ? null : ECN[ecn],
    options: options === '...' ? 'any' : tcpOptions(base.line, options ?? ''),
  };
}

function icmp(base: Timed, text: string): IcmpEvent {
  const match = ICMP.exec(text);
  const code = match === null ? undefined : UNREACHABLE[match[1]];
  if (match === null || code === undefined) throw new ScriptError(base.line, `not an ICMP error that is understood: ${text}`);
  const [, , mtu, from, to] = match;
  return { ...base, kind: 'icmp', code, mtu: Number(mtu ?? 0), seq: Number(from), length: Number(to) - Number(from) };
}

function tcpOptions(line: number, text: string): TcpOptions {
  const options: TcpOptions = {};
  for (const part of text.split(',').map((each) => each.trim())) {
    const words = part.split(/\s+/);
    if (part === '' || part === 'nop' || part === 'eol') continue;
    if (words[0] === 'mss' && words.length === 2) options.mss = Number(words[1]);
    else if (words[0] === 'wscale' && words.length === 2) options.windowScale = Number(words[1]);
    else if (part === 'sackOK') options.sackPermitted = true;
    else if (words[0] === 'TS' && words[1] === 'val' && words[3] === 'ecr') options.ts = [Number(words[2]), Number(words[4])];
    else if (words[0] === 'sack' && words.length > 1)
      options.sack = words.slice(1).map((block) => block.split(':').map(Number) as [number, number]);
    else throw new ScriptError(line, `unknown TCP option '${part}'`);
  }
  return options;
}

function conditions(line: number, text: string): AssertEvent['conditions'] {
  const body = text.replace(/^%\{/, '').replace(/\}%$/, '');
  return body
    .split(/[;\n]/)
    .map((each) => each.trim())
    .filter((each) => each !== '')
    .map((each) => {
      const match = CONDITION.exec(each);
      if (match === null) throw new ScriptError(line, `only 'assert NAME OPERATOR NUMBER' is understood: ${each}`);
      return { name: match[1], operator: match[2], value: Number(match[3]) };
    });
}

function timeOf(text: string): { us: number; relative: boolean } | null {
  return text === '*' ? null : { us: Math.round(Number(text.replace('+', '')) * 1e6), relative: text.startsWith('+') };
}

/** By commas that stand in no brackets or quotes. */
function splitArguments(text: string): string[] {
  const found: string[] = [];
  let depth = 0;
  let held = '';
  for (const letter of text) {
    if ('([{'.includes(letter)) depth++;
    else if (')]}'.includes(letter)) depth--;
    if (letter === ',' && depth === 0) {
      found.push(held.trim());
      held = '';
    } else held += letter;
  }
  if (held.trim() !== '') found.push(held.trim());
  return found;
}

function count(text: string, letter: string): number {
  return text.split(letter).length - 1;
}
