/** Header maps (`proxy_get_header_map_*` and its siblings). Bytes go straight between the map and the module's memory. */

import { LAST_MAP_TYPE, MapType, Status } from '../../abi/enums.ts';
import type { EnvFunctionName } from '../../abi/imports.ts';
import { eachPair, pairsSize, writePairs } from '../../abi/pairs.ts';
import type { Context } from '../context.ts';
import { type HostHeaderMap, isHeaderName, latin1Text } from '../header_map.ts';
import type { HostFunctions } from '../host_functions.ts';
import type { Wasm } from '../wasm.ts';
import { allocateResult, inMemory, writeU32 } from './memory.ts';

/** Names are put here in lower case. */
let name = new Uint8Array(256);

function lowerCaseName(u8: Uint8Array, start: number, length: number): void {
  if (length > name.length) name = new Uint8Array(length * 2);
  for (let i = 0; i < length; i++) {
    const c = u8[start + i];
    name[i] = c >= 65 && c <= 90 ? c | 32 : c;
  }
}

export function headerFunctions(wasm: Wasm): HostFunctions<EnvFunctionName> {
  const { memory } = wasm;

  function changed(context: Context, type: number): Status {
    if (type === MapType.HttpRequestHeaders) context.onRequestHeadersChanged();
    return Status.Ok;
  }

  /** Why `mapToChange` gave none. */
  let denied: Status = Status.Ok;

  /** The map that a header may be changed in, its name in `name`. Null: `denied` says why. */
  function mapToChange(type: number, key: number, keyLength: number, value: number, valueLength: number): HostHeaderMap | null {
    if (type >>> 0 > LAST_MAP_TYPE) {
      denied = Status.BadArgument;
      return null;
    }
    if (!inMemory(memory, key >>> 0, keyLength >>> 0) || !inMemory(memory, value >>> 0, valueLength >>> 0)) {
      denied = Status.InvalidMemoryAccess;
      return null;
    }
    const map = (wasm.effective as Context).mutableHeaderMap(type);
    if (map === null) denied = Status.BadArgument;
    else lowerCaseName(memory.u8, key >>> 0, keyLength >>> 0);
    return map;
  }

  return {
    proxy_get_header_map_size: (type: number, sizeOut: number): number => {
      wasm.checkAllowed('proxy_get_header_map_size');
      if (type >>> 0 > LAST_MAP_TYPE) return Status.BadArgument;
      const context = wasm.effective as Context;
      const map = context.mutableHeaderMap(type) ?? (context.logging ? context.headerMap(type) : null);
      return map === null ? Status.BadArgument : writeU32(memory, sizeOut, map.byteSize());
    },

    proxy_get_header_map_pairs: (type: number, pointerOut: number, sizeOut: number): number => {
      wasm.checkAllowed('proxy_get_header_map_pairs');
      if (type >>> 0 > LAST_MAP_TYPE) return Status.BadArgument;
      const map = (wasm.effective as Context).headerMap(type);
      const size = map === null ? 0 : pairsSize(map);
      const pointer = allocateResult(wasm, size, pointerOut, sizeOut);
      if (pointer < 0) return Status.InvalidMemoryAccess;
      if (size > 0) writePairs(map as HostHeaderMap, memory.u8, memory.view, pointer);
      return Status.Ok;
    },

    proxy_set_header_map_pairs: (type: number, pairs: number, length: number): number => {
      wasm.checkAllowed('proxy_set_header_map_pairs');
      if (type >>> 0 > LAST_MAP_TYPE) return Status.BadArgument;
      pairs >>>= 0;
      length >>>= 0;
      if (!inMemory(memory, pairs, length)) return Status.InvalidMemoryAccess;
      const context = wasm.effective as Context;
      const map = context.mutableHeaderMap(type);
      if (map === null) return Status.BadArgument;
      const names = new Set<string>();
      map.forEach((header) => {
        names.add(header);
      });
      for (const header of names) map.remove(header);
      const { u8 } = memory;
      eachPair(u8, pairs, length, (nameAt, nameLength, valueAt, valueLength) => {
        lowerCaseName(u8, nameAt, nameLength);
        map.addCopied(name, 0, nameLength, u8, valueAt, valueLength);
      });
      return changed(context, type);
    },

    proxy_get_header_map_value: (type: number, key: number, length: number, pointerOut: number, sizeOut: number): number => {
      wasm.checkAllowed('proxy_get_header_map_value');
      if (type >>> 0 > LAST_MAP_TYPE) return Status.BadArgument;
      key >>>= 0;
      length >>>= 0;
      if (!inMemory(memory, key, length)) return Status.InvalidMemoryAccess;
      const context = wasm.effective as Context;
      const map = context.headerMap(type);
      let entry = -1;
      if (map !== null) {
        lowerCaseName(memory.u8, key, length);
        entry = map.findBytes(name, 0, length);
      } else if (!context.logging) return Status.BadArgument;
      if (entry < 0 && wasm.abiVersion !== '0.1.0') return Status.NotFound;
      const size = entry < 0 ? 0 : (map as HostHeaderMap).entryValueLength(entry);
      const pointer = allocateResult(wasm, size, pointerOut, sizeOut);
      if (pointer < 0) return Status.InvalidMemoryAccess;
      if (size > 0) (map as HostHeaderMap).writeEntryValue(entry, memory.u8, pointer);
      return Status.Ok;
    },

    proxy_add_header_map_value: (type: number, key: number, keyLength: number, value: number, valueLength: number): number => {
      wasm.checkAllowed('proxy_add_header_map_value');
      const map = mapToChange(type, key, keyLength, value, valueLength);
      if (map === null) return denied;
      if (!map.addCopied(name, 0, keyLength >>> 0, memory.u8, value >>> 0, valueLength >>> 0)) return Status.BadArgument;
      return changed(wasm.effective as Context, type);
    },

    proxy_replace_header_map_value: (
      type: number,
      key: number,
      keyLength: number,
      value: number,
      valueLength: number,
    ): number => {
      wasm.checkAllowed('proxy_replace_header_map_value');
      const map = mapToChange(type, key, keyLength, value, valueLength);
      if (map === null) return denied;
      keyLength >>>= 0;
      value >>>= 0;
      valueLength >>>= 0;
      if (!isHeaderName(name, 0, keyLength)) return Status.BadArgument;
      if (map.findBytes(name, 0, keyLength) < 0) map.addCopied(name, 0, keyLength, memory.u8, value, valueLength);
      else map.set(latin1Text(name, 0, keyLength), latin1Text(memory.u8, value, valueLength));
      return changed(wasm.effective as Context, type);
    },

    proxy_remove_header_map_value: (type: number, key: number, length: number): number => {
      wasm.checkAllowed('proxy_remove_header_map_value');
      const map = mapToChange(type, key, length, 0, 0);
      if (map === null) return denied;
      length >>>= 0;
      if (map.findBytes(name, 0, length) >= 0) map.remove(latin1Text(name, 0, length));
      return changed(wasm.effective as Context, type);
    },
  };
}
