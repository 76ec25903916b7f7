/** Log, time, timer, properties, contexts, foreign functions. */

import { LogLevel, Status } from '../../abi/enums.ts';
import type { EnvFunctionName } from '../../abi/imports.ts';
import type { Context } from '../context.ts';
import type { HostFunctions } from '../host_functions.ts';
import { NOT_SERIALIZABLE, serializeProperty } from '../property_value.ts';
import type { Wasm } from '../wasm.ts';
import { allocateResult, inMemory, readBytes, readLatin1, readUtf8, returnBytes, writeU32, writeU64 } from './memory.ts';

const MAX_LOG_BYTES = 64 << 10;

export function pluginFunctions(wasm: Wasm): HostFunctions<EnvFunctionName> {
  const { memory } = wasm;
  return {
    /** Allowed at any time. */
    proxy_log: (level: number, at: number, length: number): number => {
      if (level >>> 0 > LogLevel.Critical) return Status.BadArgument;
      if (!inMemory(memory, at >>> 0, length >>> 0)) return Status.InvalidMemoryAccess;
      if (level >= wasm.environment.logLevel) {
        wasm.log(level, readUtf8(memory, at, Math.min(length >>> 0, MAX_LOG_BYTES)) as string);
      }
      return Status.Ok;
    },
    proxy_get_log_level: (levelOut: number): number => {
      wasm.checkAllowed('proxy_get_log_level');
      return writeU32(memory, levelOut, wasm.environment.logLevel);
    },
    proxy_get_current_time_nanoseconds: (timeOut: number): number => {
      wasm.checkAllowed('proxy_get_current_time_nanoseconds');
      return writeU64(memory, timeOut, wasm.environment.systemTimeNs());
    },
    proxy_set_tick_period_milliseconds: (periodMs: number): number => {
      wasm.checkAllowed('proxy_set_tick_period_milliseconds');
      wasm.effective?.root?.setTickPeriod(periodMs >>> 0);
      return Status.Ok;
    },

    proxy_get_property: (pathAt: number, pathLength: number, pointerOut: number, sizeOut: number): number => {
      wasm.checkAllowed('proxy_get_property');
      const path = readLatin1(memory, pathAt, pathLength);
      if (path === null) return Status.InvalidMemoryAccess;
      if (path === '') return Status.SerializationFailure;
      const value = (wasm.effective as Context).property(path.endsWith('\0') ? path.slice(0, -1) : path);
      if (value === undefined) return Status.NotFound;
      const bytes = value === NOT_SERIALIZABLE ? null : serializeProperty(value);
      return bytes === null ? Status.SerializationFailure : returnBytes(wasm, bytes, pointerOut, sizeOut);
    },
    proxy_set_property: (pathAt: number, pathLength: number, valueAt: number, valueLength: number): number => {
      wasm.checkAllowed('proxy_set_property');
      const path = readLatin1(memory, pathAt, pathLength);
      const value = readBytes(memory, valueAt, valueLength);
      if (path === null || value === null) return Status.InvalidMemoryAccess;
      return (wasm.effective as Context).setProperty(path, value);
    },

    proxy_set_effective_context: (id: number): number => {
      wasm.checkAllowed('proxy_set_effective_context');
      const context = wasm.contexts.get(id >>> 0);
      if (context === undefined) return Status.BadArgument;
      wasm.effective = context;
      return Status.Ok;
    },
    proxy_done: (): number => {
      wasm.checkAllowed('proxy_done');
      return wasm.effective?.root?.done() ?? Status.NotFound;
    },

    proxy_call_foreign_function: (
      nameAt: number,
      nameLength: number,
      argsAt: number,
      argsLength: number,
      pointerOut: number,
      sizeOut: number,
    ): number => {
      wasm.checkAllowed('proxy_call_foreign_function');
      const name = readUtf8(memory, nameAt, nameLength);
      const args = readBytes(memory, argsAt, argsLength);
      if (name === null || args === null) return Status.InvalidMemoryAccess;
      const outcome = (wasm.effective as Context).foreignFunction(name, args);
      if (outcome === undefined) return Status.NotFound;
      const { status, result } = outcome;
      // Either out parameter may be left out.
      if (pointerOut === 0 && sizeOut === 0) return status;
      if (pointerOut === 0) return writeU32(memory, sizeOut, result?.length ?? 0) || status;
      if (sizeOut === 0) return allocateOnly(wasm, result ?? new Uint8Array(0), pointerOut) || status;
      return returnBytes(wasm, result ?? new Uint8Array(0), pointerOut, sizeOut) || status;
    },

    pthread_equal: (a: number, b: number): number => (a === b ? 1 : 0),
    emscripten_notify_memory_growth: (): void => memory.refresh(),
  };
}

function allocateOnly(wasm: Wasm, bytes: Uint8Array, pointerOut: number): Status {
  const pointer = allocateResult(wasm, bytes.length, pointerOut, pointerOut);
  if (pointer < 0) return Status.InvalidMemoryAccess;
  if (bytes.length > 0) wasm.memory.u8.set(bytes, pointer);
  wasm.memory.view.setUint32(pointerOut >>> 0, pointer, true);
  return Status.Ok;
}
