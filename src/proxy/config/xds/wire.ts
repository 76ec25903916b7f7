/**
 * DiscoveryRequest and DeltaDiscoveryRequest as bytes (envoy/service/discovery/v3/discovery.proto). Written by hand: they have a handful of fields,
 * and the library that knows all messages lives in another process.
 */

import { ProtoWriter } from '../../common/protobuf_writer.ts';

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

export function encodeDiscoveryRequest(request: DiscoveryRequest): Uint8Array {
  const out = new ProtoWriter();
  out.text(1, request.versionInfo);
  if (request.node !== null) out.anyBlob(2, request.node);
  for (const name of request.resourceNames) out.anyText(3, name);
  out.text(4, request.typeUrl);
  out.text(5, request.responseNonce);
  if (request.error !== null) writeStatus(out, 6, request.error);
  return out.bytes;
}

export function encodeDeltaDiscoveryRequest(request: DeltaDiscoveryRequest): Uint8Array {
  const out = new ProtoWriter();
  if (request.node !== null) out.anyBlob(1, request.node);
  out.text(2, request.typeUrl);
  for (const name of request.subscribe) out.anyText(3, name);
  for (const name of request.unsubscribe) out.anyText(4, name);
  for (const [name, version] of request.initialVersions) out.entry(5, name, version);
  out.text(6, request.responseNonce);
  if (request.error !== null) writeStatus(out, 7, request.error);
  return out.bytes;
}

/** `google.rpc.Status`. */
function writeStatus(out: ProtoWriter, field: number, message: string): void {
  out.message(field, () => {
    out.number(1, INVALID_ARGUMENT);
    out.text(2, message);
  });
}
