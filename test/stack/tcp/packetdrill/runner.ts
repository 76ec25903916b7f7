/** Runs a packetdrill script against our stack in virtual time. Throws ScriptError at the first thing that is not as the script says. */

import { urgentBytes } from '../../../../src/stack/tcp/urgent.ts';
import { get32, put16, put32 } from '../../../../src/stack/wire/bytes.ts';
import { finishChecksum, sumBytes } from '../../../../src/stack/wire/checksum.ts';
import { emitIpv4, newIpv4Repr } from '../../../../src/stack/wire/ipv4.ts';
import type { TcpRepr } from '../../../../src/stack/wire/tcp.ts';
import { OURS, PEER, PEER_ISS, Script, type SegmentOut } from '../script.ts';
import {
  type AssertEvent,
  type CallEvent,
  type IcmpEvent,
  type PacketEvent,
  parseScript,
  ScriptError,
  type ScriptEvent,
  type TcpOptions,
} from './parse.ts';
import { type CallResult, Sockets } from './sockets.ts';

interface Waiting {
  event: CallEvent;
  returnsUs: number;
}

/** `lax`: packets that the script does not speak of at its end are no error (as for packetdrill). */
export function runPacketdrill(text: string, { lax = false } = {}): void {
  const parsed = parseScript(text);
  new Run(new Script(parsed.tcp, parsed.mtu), parsed.toleranceUs).run(parsed.events, lax);
}

class Run {
  private readonly script: Script;
  private readonly sockets: Sockets;
  private readonly toleranceUs: number;
  private readonly startUs: number;
  private lastUs: number;
  private waiting: Waiting | null = null;
  /** What the stack's timestamps are ahead of the script's. */
  private tsOffset: number | null = null;
  private issKnown = false;

  constructor(script: Script, toleranceUs: number) {
    this.script = script;
    this.sockets = new Sockets(script);
    this.toleranceUs = toleranceUs;
    this.startUs = this.lastUs = script.nowUs;
  }

  run(events: readonly ScriptEvent[], lax: boolean): void {
    for (const event of events) {
      try {
        this.one(event);
      } catch (error) {
        if (error instanceof ScriptError) throw error;
        throw new ScriptError(event.line, (error as Error).message);
      }
    }
    const last = events.at(-1)?.line ?? 0;
    if (this.waiting !== null) throw new ScriptError(this.waiting.event.line, `${this.waiting.event.name} has not returned`);
    const { sent } = this.script.device;
    if (!lax && sent.length > 0) throw new ScriptError(last, `sent after the end of the script: ${this.text(this.take().out)}`);
  }

  private one(event: ScriptEvent): void {
    if (event.kind === 'out') {
      this.expect(event);
      return;
    }
    if (event.at !== null) this.advance(this.timeOf(event.at));
    this.lastUs = this.script.nowUs;
    if (event.kind === 'in') this.inject(event);
    else if (event.kind === 'icmp') this.script.inRaw(this.unreachable(event));
    else if (event.kind === 'call') this.call(event);
    else if (event.kind === 'assert') this.check(event);
    this.finishWaiting();
  }

  private timeOf(time: { us: number; relative: boolean }): number {
    return (time.relative ? this.lastUs : this.startUs) + time.us;
  }

  /** Lets time pass, up to the first packet if told so. */
  private advance(untilUs: number, forPacket = false): void {
    const { script } = this;
    for (;;) {
      if (forPacket && script.device.sent.length > 0) return;
      const next = script.stack.nextDeadlineUs();
      if (next > untilUs) break;
      script.nowUs = Math.max(script.nowUs, next);
      script.stack.poll(script.nowUs);
      this.finishWaiting();
    }
    script.nowUs = Math.max(script.nowUs, untilUs);
    script.run();
    this.finishWaiting();
  }

  // --- calls

  private call(event: CallEvent): void {
    if (this.waiting !== null) throw new Error(`${this.waiting.event.name} (line ${this.waiting.event.line}) has not returned`);
    const result = this.sockets.call(event.name, event.args, true);
    this.script.run();
    if (result !== null) {
      if (event.returns !== null && this.timeOf(event.returns) - this.script.nowUs > this.toleranceUs)
        throw new Error(`${event.name} has returned at once`);
      compareResult(event, result);
      return;
    }
    if (event.returns === null) {
      // What it waits for may have happened in this very moment.
      const again = this.sockets.call(event.name, event.args, false);
      if (again === null) throw new Error(`${event.name} blocks`);
      compareResult(event, again);
      return;
    }
    this.waiting = { event, returnsUs: this.timeOf(event.returns) };
  }

  private finishWaiting(): void {
    const { waiting, script } = this;
    if (waiting === null) return;
    const { event, returnsUs } = waiting;
    const late = script.nowUs - returnsUs;
    const result = this.sockets.call(event.name, event.args, false);
    if (result === null) {
      if (late > this.toleranceUs) throw new ScriptError(event.line, `${event.name} has not returned`);
      return;
    }
    this.waiting = null;
    script.run();
    if (late < -this.toleranceUs) throw new ScriptError(event.line, `${event.name} has returned ${-late} us too early`);
    compareResult(event, result);
  }

  private check(event: AssertEvent): void {
    const c = this.sockets.current;
    if (c === null) throw new Error('there is no connection');
    const { scoreboard, mss } = c;
    const values: Readonly<Record<string, number>> = {
      tcpi_state: [7, 10, 2, 3, 1, 8, 4, 9, 11, 5, 6][c.state],
      tcpi_ca_state: c.caState,
      tcpi_retransmits: c.retries,
      tcpi_unacked: Math.ceil(c.inFlight / mss),
      tcpi_sacked: Math.ceil(scoreboard.sackedBytes / mss),
      tcpi_lost: Math.ceil(scoreboard.lostBytes / mss),
      tcpi_total_retrans: c.retransmits,
      tcpi_snd_mss: mss,
      tcpi_snd_cwnd: Math.round(c.cwnd / mss),
      tcpi_snd_ssthresh: Math.round(c.ssthresh / mss),
      tcpi_rtt: Math.round(c.srttUs),
      tcpi_rto: Math.round(c.rtt.rtoUs),
      tcpi_bytes_acked: c.bytesAcked,
      tcpi_bytes_received: c.bytesReceived,
      /** Ours: bytes to be read until urgent data is over. */
      urgent_left: urgentBytes(c),
    };
    for (const { name, operator, value } of event.conditions) {
      const is = values[name];
      if (is === undefined) throw new Error(`${name} is not known; known are ${Object.keys(values).join(', ')}`);
      const holds = {
        '==': is === value,
        '!=': is !== value,
        '<': is < value,
        '>': is > value,
        '<=': is <= value,
        '>=': is >= value,
      };
      if (!holds[operator as keyof typeof holds]) throw new Error(`${name} is ${is}, not ${operator} ${value}`);
    }
  }

  // --- packets in

  private inject(event: PacketEvent): void {
    const { ts, ...options } = event.options as TcpOptions;
    this.script.in({
      flags: event.flags,
      seq: event.seq,
      ack: event.ack ?? undefined,
      window: event.window!,
      data: event.length,
      urgent: event.urgent,
      tos: event.ecn ?? 0,
      ...options,
      ...(ts && { ts: [ts[0], ts[1] === 0 ? 0 : (ts[1] + (this.tsOffset ?? 0)) | 0] }),
    });
  }

  /** The error quotes 28 bytes of the segment. */
  private unreachable(event: IcmpEvent): Uint8Array {
    const bytes = new Uint8Array(56);
    const header = newIpv4Repr();
    header.totalLength = bytes.length;
    header.protocol = 1;
    header.source = PEER.w0;
    header.destination = OURS.w0;
    emitIpv4(bytes, 0, header);
    bytes[20] = 3;
    bytes[21] = event.code;
    put16(bytes, 26, event.mtu);
    header.totalLength = 40 + event.length;
    header.protocol = 6;
    header.source = OURS.w0;
    header.destination = PEER.w0;
    header.dontFragment = true;
    emitIpv4(bytes, 28, header);
    put16(bytes, 48, this.script.localPort);
    put16(bytes, 50, this.script.peerPort);
    put32(bytes, 52, (this.script.iss + event.seq) | 0);
    put16(bytes, 22, finishChecksum(sumBytes(bytes, 20, bytes.length, 0)));
    return bytes;
  }

  // --- packets out

  private expect(event: PacketEvent): void {
    const { script, toleranceUs } = this;
    const from = event.at === null ? script.nowUs : this.timeOf(event.at);
    const until = event.at === null ? Number.MAX_SAFE_INTEGER : event.until === null ? from : this.timeOf(event.until);
    this.advance(Math.min(until + toleranceUs, script.nowUs + 1e9), true);
    if (script.device.sent.length === 0) throw new Error(`nothing was sent; expected ${describe(event)}`);
    const { out, atUs } = this.take();
    this.lastUs = Math.max(this.lastUs, atUs);
    const is = this.text(out);
    if (event.at !== null && (atUs < from - toleranceUs || atUs > until + toleranceUs))
      throw new Error(`${is} was sent ${((atUs - from) / 1e6).toFixed(6)} s from when it should have been`);
    const wrong = this.difference(event, out);
    if (wrong !== null) throw new Error(`${wrong}: expected ${describe(event)}, sent was ${is}`);
  }

  private take(): { out: SegmentOut; atUs: number } {
    const { device } = this.script;
    const bytes = device.sent.shift()!;
    const atUs = device.sentAtUs.shift()!;
    if (!this.issKnown && (bytes[33] & 2) !== 0) {
      this.script.iss = get32(bytes, 24);
      this.issKnown = true;
    }
    return { out: this.script.parse(bytes), atUs };
  }

  private difference(event: PacketEvent, out: SegmentOut): string | null {
    const letters = (flags: string): string => [...flags].sort().join('');
    if (letters(event.flags) !== letters(out.flags)) return 'flags';
    if (event.seq !== out.seq) return 'sequence number';
    if (event.length !== out.length) return 'length';
    if (event.ack !== null && event.ack !== out.ack) return 'acknowledgment';
    if (event.window !== null && event.window !== out.window) return 'window';
    if (event.urgent !== out.repr.urgent) return 'urgent pointer';
    if (event.ecn !== null && event.ecn !== (out.tos & 3)) return 'ECN mark';
    if (event.options === 'any') {
      this.learnTimestamps(out.repr, null);
      return null;
    }
    return this.differentOption(event.options, out.repr);
  }

  private differentOption(wanted: TcpOptions, is: TcpRepr): string | null {
    if ((wanted.mss ?? 0) !== is.mss) return 'option mss';
    if ((wanted.windowScale ?? -1) !== is.windowScale) return 'option wscale';
    if ((wanted.sackPermitted ?? false) !== is.sackPermitted) return 'option sackOK';
    const blocks = sackText((wanted.sack ?? []).flat());
    if (blocks !== sackText([...is.sack.subarray(0, 2 * is.sackCount)].map((at) => (at - PEER_ISS) | 0))) return 'option sack';
    if ((wanted.ts !== undefined) !== is.hasTimestamps) return 'option TS';
    if (wanted.ts === undefined) return null;
    this.learnTimestamps(is, wanted.ts[0]);
    const away = Math.abs((is.tsVal - wanted.ts[0] - this.tsOffset!) | 0);
    if (away * 1000 > this.toleranceUs + 1000) return 'timestamp';
    return is.tsEcr === wanted.ts[1] ? null : 'echoed timestamp';
  }

  /** The first timestamp says how ours and the script's compare. */
  private learnTimestamps(is: TcpRepr, wanted: number | null): void {
    if (is.hasTimestamps && this.tsOffset === null && wanted !== null) this.tsOffset = (is.tsVal - wanted) | 0;
  }

  private text(out: SegmentOut): string {
    const { repr } = out;
    const options = [
      repr.mss > 0 ? `mss ${repr.mss}` : '',
      repr.sackPermitted ? 'sackOK' : '',
      repr.hasTimestamps ? `TS val ${(repr.tsVal - (this.tsOffset ?? 0)) >>> 0} ecr ${repr.tsEcr >>> 0}` : '',
      repr.windowScale >= 0 ? `wscale ${repr.windowScale}` : '',
      repr.sackCount > 0
        ? `sack ${sackText([...repr.sack.subarray(0, 2 * repr.sackCount)].map((at) => (at - PEER_ISS) | 0))}`
        : '',
    ].filter(Boolean);
    const ack = out.flags.includes('A') ? ` ack ${out.ack}` : '';
    const urgent = out.flags.includes('U') ? ` urg ${repr.urgent}` : '';
    const flags = out.flags.replace('A', '.');
    return `${flags} ${out.seq}:${out.seq + out.length}(${out.length})${ack} win ${out.window}${urgent} <${options.join(',')}>`;
  }
}

function compareResult(event: CallEvent, result: NonNullable<CallResult>): void {
  const text = (value: number | null, errno: string | null): string => `${value}${errno === null ? '' : ` ${errno}`}`;
  if (event.result === null) return;
  const same = event.result === result.value && (result.value >= 0 || event.errno === null || event.errno === result.errno);
  if (!same)
    throw new ScriptError(
      event.line,
      `${event.name} returned ${text(result.value, result.errno)}, not ${text(event.result, event.errno)}`,
    );
}

function describe(event: PacketEvent): string {
  const ack = event.ack === null ? '' : ` ack ${event.ack}`;
  const window = event.window === null ? '' : ` win ${event.window}`;
  const urgent = event.urgent === 0 ? '' : ` urg ${event.urgent}`;
  return `${event.flags.replace('A', '.')} ${event.seq}:${event.seq + event.length}(${event.length})${ack}${window}${urgent}`;
}

function sackText(edges: readonly number[]): string {
  const blocks: string[] = [];
  for (let i = 0; i + 1 < edges.length; i += 2) blocks.push(`${edges[i]}:${edges[i + 1]}`);
  return blocks.join(' ');
}
