/**
 * The upstream of a gRPC call-out: a serialised `envoy.config.core.v3.GrpcService` with `envoy_grpc`, or the plain name of a cluster. Read by
 * hand: three fields of two messages are wanted. `google_grpc` is not supported.
 */
import { Status } from '../abi/enums.ts';

export interface GrpcTarget {
  readonly cluster: string;
  readonly initialMetadata: [string, string][];
}

/** A status when it is neither. A known cluster's name wins over a message that it happens to parse as. */
export function grpcTarget(upstream: Uint8Array, hasCluster: (name: string) => boolean): GrpcTarget | Status {
  const text = Buffer.from(upstream.buffer, upstream.byteOffset, upstream.length).toString('utf8');
  if (hasCluster(text)) return { cluster: text, initialMetadata: [] };
  const message = fields(upstream);
  if (message === null) return Status.ParseFailure;
  let cluster: string | null = null;
  const initialMetadata: [string, string][] = [];
  for (const { number, bytes } of message) {
    if (bytes === null) continue;
    // envoy_grpc { cluster_name = 1 }; initial_metadata = 5 { key = 1, value = 2 }
    if (number === 1) cluster = textField(bytes, 1);
    else if (number === 5) initialMetadata.push([(textField(bytes, 1) ?? '').toLowerCase(), textField(bytes, 2) ?? '']);
  }
  if (cluster === null) return message.some(({ number }) => number === 2) ? Status.BadArgument : Status.ParseFailure;
  return hasCluster(cluster) ? { cluster, initialMetadata } : Status.BadArgument;
}

interface Field {
  readonly number: number;
  /** Of length-delimited fields. */
  readonly bytes: Uint8Array | null;
}

function textField(bytes: Uint8Array, wanted: number): string | null {
  const found = fields(bytes)?.findLast(({ number, bytes: value }) => number === wanted && value !== null);
  return found === undefined || found === null ? null : Buffer.from(found.bytes as Uint8Array).toString('utf8');
}

/** Null: not a protobuf message. */
export function fields(bytes: Uint8Array): Field[] | null {
  const found: Field[] = [];
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let shift = 0; shift < 64; shift += 7) {
      if (at >= bytes.length) return -1;
      const byte = bytes[at++];
      value += (byte & 0x7f) * 2 ** shift;
      if ((byte & 0x80) === 0) return value;
    }
    return -1;
  };
  while (at < bytes.length) {
    const tag = varint();
    if (tag < 8) return null;
    const number = Math.floor(tag / 8);
    switch (tag % 8) {
      case 0:
        if (varint() < 0) return null;
        found.push({ number, bytes: null });
        break;
      case 1:
        at += 8;
        found.push({ number, bytes: null });
        break;
      case 2: {
        const length = varint();
        if (length < 0 || at + length > bytes.length) return null;
        found.push({ number, bytes: bytes.subarray(at, at + length) });
        at += length;
        break;
      }
      case 5:
        at += 4;
        found.push({ number, bytes: null });
        break;
      default:
        return null;
    }
    if (at > bytes.length) return null;
  }
  return found;
}
