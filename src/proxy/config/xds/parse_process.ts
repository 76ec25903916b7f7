/**
 * Decodes resources in a process of its own, which lives as long as the server that has control planes: the definitions of Envoy's API are tens of
 * megabytes that the server's heap, and every collection of it, does without. Requests come on standard input and answers go to standard output,
 * in order: a length of four bytes, then serialized data. It ends with its input.
 */
import { readSync, writeSync } from 'node:fs';
import { deserialize, serialize } from 'node:v8';
import { ConfigError } from '../error.ts';
import { encodeNode } from './node_message.ts';
import type { ResourceKind } from './resource_types.ts';
import { type ParsedResponse, parseResponse, parseResponseFile } from './response.ts';

export type ParseRequest =
  | { file: string; kind: ResourceKind }
  | { bytes: Uint8Array; delta: boolean }
  | { node: Record<string, unknown> };
export type ParseAnswer = { response: ParsedResponse } | { bytes: Uint8Array } | { error: string };

function answer(request: ParseRequest): ParseAnswer {
  try {
    if ('node' in request) return { bytes: encodeNode(request.node) };
    if ('file' in request) return { response: parseResponseFile(request.file, request.kind) };
    return { response: parseResponse(request.bytes, request.delta) };
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return { error: error.message };
  }
}

/** Null: the input has ended. */
function read(length: number): Buffer | null {
  const bytes = Buffer.alloc(length);
  for (let at = 0; at < length; ) {
    const n = readSync(0, bytes, at, length - at, null);
    if (n === 0) return null;
    at += n;
  }
  return bytes;
}

function write(bytes: Buffer): void {
  for (let at = 0; at < bytes.length; ) at += writeSync(1, bytes, at);
}

for (;;) {
  const length = read(4);
  const bytes = length === null ? null : read(length.readUInt32LE());
  if (bytes === null) break;
  const data = serialize(answer(deserialize(bytes) as ParseRequest));
  const head = Buffer.alloc(4);
  head.writeUInt32LE(data.length);
  write(head);
  write(data);
}
