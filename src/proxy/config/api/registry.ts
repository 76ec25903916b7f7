/**
 * The Envoy v3 API as protobuf-es descriptors: built once per process when first asked for, from `build/envoy-api.binpb` (made on
 * demand when it is missing) and `additions.ts`. It costs some 60 ms and 20 MB, so a server lets another process load it.
 */
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
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

function load(): Api {
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
