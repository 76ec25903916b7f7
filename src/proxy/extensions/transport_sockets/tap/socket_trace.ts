/**
 * What one connection said, for debugging: the buffered trace of a socket (Envoy: PerSocketTapperImpl, envoy.data.tap.v3.TraceWrapper), as
 * proto JSON with proto field names. Bounded: of each direction so many bytes are kept, the rest is only marked as cut.
 */
import type { Address } from '../../../network/address.ts';

export interface TraceSettings {
  readonly maxRxBytes: number;
  readonly maxTxBytes: number;
  readonly asString: boolean;
}

interface Direction {
  left: number;
  truncated: boolean;
}

export class SocketTrace {
  private readonly settings: TraceSettings;
  private readonly events: object[] = [];
  private readonly rx: Direction;
  private readonly tx: Direction;

  constructor(settings: TraceSettings) {
    this.settings = settings;
    this.rx = { left: settings.maxRxBytes, truncated: false };
    this.tx = { left: settings.maxTxBytes, truncated: false };
  }

  /** How many bytes of the next read would be kept: what is beyond need not be copied. */
  get readRoom(): number {
    return this.rx.left;
  }

  get writeRoom(): number {
    return this.tx.left;
  }

  /** `kept`: the first of `length` bytes, as many as there is room for. */
  read(kept: Uint8Array, length: number, nowMs: number): void {
    const data = this.take(this.rx, kept, length);
    if (data !== null) this.events.push({ timestamp: new Date(nowMs).toISOString(), read: { data } });
  }

  write(kept: Uint8Array, length: number, endStream: boolean, nowMs: number): void {
    const data = this.take(this.tx, kept, length);
    if (data === null && !endStream) return;
    const write = { ...(data !== null && { data }), ...(endStream && { end_stream: true }) };
    this.events.push({ timestamp: new Date(nowMs).toISOString(), write });
  }

  closed(nowMs: number): void {
    this.events.push({ timestamp: new Date(nowMs).toISOString(), closed: {} });
  }

  toJson(traceId: number, local: Address | null, remote: Address | null): string {
    const trace = {
      trace_id: String(traceId),
      connection: { ...(local !== null && { local_address: of(local) }), ...(remote !== null && { remote_address: of(remote) }) },
      events: this.events,
      ...(this.rx.truncated && { read_truncated: true }),
      ...(this.tx.truncated && { write_truncated: true }),
    };
    return `${JSON.stringify({ socket_buffered_trace: trace }, null, 1)}\n`;
  }

  /** Null: there is no room any more. */
  private take(direction: Direction, kept: Uint8Array, length: number): object | null {
    if (length > direction.left) direction.truncated = true;
    if (direction.left === 0 || length === 0) return null;
    direction.left -= kept.length;
    const bytes = Buffer.from(kept.buffer, kept.byteOffset, kept.length);
    const body = this.settings.asString ? { as_string: bytes.toString('utf8') } : { as_bytes: bytes.toString('base64') };
    return kept.length < length ? { ...body, truncated: true } : body;
  }
}

function of(address: Address): object {
  if (address.kind === 'pipe') return { pipe: { path: address.path } };
  return { socket_address: { address: address.ip, port_value: address.port } };
}
