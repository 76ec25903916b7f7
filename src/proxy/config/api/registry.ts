/**
 * The Envoy v3 API as protobuf-es descriptors: built once per process when first asked for, from `build/envoy-api.binpb` (made on
 * demand when it is missing) and `additions.ts`. It costs some 60 ms and 20 MB, so only the main thread loads it,
 * and `releaseApi` lets it go.
 */
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { isMainThread } from 'node:worker_threads';
import {
  createFileRegistry,
  type DescEnum,
  type DescExtension,
  type DescMessage,
  type FileRegistry,
  fromBinary,
} from '@bufbuild/protobuf';
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { addNewerApi } from './additions.ts';
import { buildApi } from './build.ts';

export const apiFile: string = fileURLToPath(new URL('../../../../build/envoy-api.binpb', import.meta.url));

export interface Api {
  readonly registry: FileRegistry;
  /** By full name. Throws for a name that the API does not have: names come from our own tables. */
  message(fullName: string): DescMessage;
  enum(fullName: string): DescEnum;
  extension(fullName: string): DescExtension;
}

let loaded: Api | undefined;

export function api(): Api {
  return (loaded ??= load());
}

/** Forgets the descriptors. They come back on the next use. */
export function releaseApi(): void {
  loaded = undefined;
}

function load(): Api {
  if (!isMainThread) throw new Error('configuration is read on the main thread only');
  if (!existsSync(apiFile)) buildApi(apiFile);
  const set = fromBinary(FileDescriptorSetSchema, readFileSync(apiFile));
  addNewerApi(set);
  const registry = createFileRegistry(set);
  const found = <T>(what: T | undefined, fullName: string): T => {
    if (what === undefined) throw new Error(`the Envoy API has no ${fullName}`);
    return what;
  };
  return {
    registry,
    message: (fullName) => found(registry.getMessage(fullName), fullName),
    enum: (fullName) => found(registry.getEnum(fullName), fullName),
    extension: (fullName) => found(registry.getExtension(fullName), fullName),
  };
}
