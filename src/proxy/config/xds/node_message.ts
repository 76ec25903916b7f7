/** `node` of the bootstrap as the message that control planes get. */
import { fromJson, type JsonValue, toBinary } from '@bufbuild/protobuf';
import { api } from '../api/registry.ts';

/** `node` is proto JSON. */
export function encodeNode(node: Record<string, unknown>): Uint8Array {
  const definitions = api();
  const type = definitions.message('envoy.config.core.v3.Node');
  return toBinary(type, fromJson(type, node as JsonValue, { registry: definitions.registry }));
}
