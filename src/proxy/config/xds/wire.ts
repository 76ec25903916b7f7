/**
 * DiscoveryRequest and DeltaDiscoveryRequest as bytes (envoy/service/discovery/v3/discovery.proto). Written by hand: they have a handful of fields,
 * and the library that knows all messages lives in another process.
 */

export interface DiscoveryRequest {
  readonly versionInfo: string;
  /** A Node message; null: not this time. */
  readonly node: Uint8Array | null;
  readonly resourceNames: readonly string[];
  readonly typeUrl: string;
  readonly responseNonce: string;
  /** Why the response with that nonce is not accepted. */
  readonly error: string | null;
}

export interface DeltaDiscoveryRequest {
  readonly node: Uint8Array | null;
  readonly typeUrl: string;
  readonly subscribe: readonly string[];
  readonly unsubscribe: readonly string[];
  readonly initialVersions: ReadonlyMap<string, string>;
  readonly responseNonce: string;
  readonly error: string | null;
}

/** google.rpc.Code. */
const INVALID_ARGUMENT = 3;

export function encodeDiscoveryRequest(request: DiscoveryRequest): Buffer {
  const out = new Writer();
  out.text(1, request.versionInfo);
  if (request.node !== null) out.bytes(2, request.node);
  for (const name of request.resourceNames) out.text(3, name, true);
  out.text(4, request.typeUrl);
  out.text(5, request.responseNonce);
  if (request.error !== null) out.bytes(6, status(request.error));
  return out.finish();
}

export function encodeDeltaDiscoveryRequest(request: DeltaDiscoveryRequest): Buffer {
  const out = new Writer();
  if (request.node !== null) out.bytes(1, request.node);
  out.text(2, request.typeUrl);
  for (const name of request.subscribe) out.text(3, name, true);
  for (const name of request.unsubscribe) out.text(4, name, true);
  for (const [name, version] of request.initialVersions) {
    const entry = new Writer();
    entry.text(1, name);
    entry.text(2, version);
    out.bytes(5, entry.finish());
  }
  out.text(6, request.responseNonce);
  if (request.error !== null) out.bytes(7, status(request.error));
  return out.finish();
}

function status(message: string): Buffer {
  const out = new Writer();
  out.varintField(1, INVALID_ARGUMENT);
  out.text(2, message);
  return out.finish();
}

const LENGTH_DELIMITED = 2;

class Writer {
  private readonly parts: Buffer[] = [];

  /** An empty text is left out, unless it is an item of a list. */
  text(field: number, value: string, item = false): void {
    if (value !== '' || item) this.bytes(field, Buffer.from(value));
  }

  bytes(field: number, value: Uint8Array): void {
    this.varint((field << 3) | LENGTH_DELIMITED);
    this.varint(value.length);
    this.parts.push(Buffer.from(value.buffer, value.byteOffset, value.length));
  }

  varintField(field: number, value: number): void {
    this.varint(field << 3);
    this.varint(value);
  }

  finish(): Buffer {
    return Buffer.concat(this.parts);
  }

  private varint(value: number): void {
    const bytes: number[] = [];
    for (; value > 127; value = Math.floor(value / 128)) bytes.push((value % 128) | 128);
    bytes.push(value);
    this.parts.push(Buffer.from(bytes));
  }
}
