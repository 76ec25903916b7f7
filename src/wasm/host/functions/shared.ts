/** Shared data, shared queues and metrics. */

import { MetricType, Status } from '../../abi/enums.ts';
import type { EnvFunctionName } from '../../abi/imports.ts';
import type { HostFunctions } from '../host_functions.ts';
import type { Wasm } from '../wasm.ts';
import { inMemory, readBytes, readUtf8, returnBytes, writeU32, writeU64 } from './memory.ts';

export function sharedFunctions(wasm: Wasm): HostFunctions<EnvFunctionName> {
  const { memory } = wasm;
  const { shared } = wasm.environment;
  const { vmId } = wasm.options;
  return {
    proxy_get_shared_data: (keyAt: number, keyLength: number, pointerOut: number, sizeOut: number, casOut: number): number => {
      wasm.checkAllowed('proxy_get_shared_data');
      const key = readBytes(memory, keyAt, keyLength);
      if (key === null) return Status.InvalidMemoryAccess;
      const found = shared.getData(vmId, key);
      if (found === null) return Status.NotFound;
      return returnBytes(wasm, found.value, pointerOut, sizeOut) || writeU32(memory, casOut, found.cas);
    },
    proxy_set_shared_data: (keyAt: number, keyLength: number, valueAt: number, valueLength: number, cas: number): number => {
      wasm.checkAllowed('proxy_set_shared_data');
      const key = readBytes(memory, keyAt, keyLength);
      const value = readBytes(memory, valueAt, valueLength);
      if (key === null || value === null) return Status.InvalidMemoryAccess;
      return SET_RESULT[shared.setData(vmId, key, value, cas >>> 0)];
    },

    proxy_register_shared_queue: (nameAt: number, nameLength: number, tokenOut: number): number => {
      wasm.checkAllowed('proxy_register_shared_queue');
      const name = readBytes(memory, nameAt, nameLength);
      if (name === null || !inMemory(memory, tokenOut >>> 0, 4)) return Status.InvalidMemoryAccess;
      const root = wasm.effective?.root ?? null;
      if (root === null) return Status.InternalFailure;
      const token = shared.registerQueue(vmId, name, root.onQueueFilled);
      return token === 0 ? Status.InternalFailure : writeU32(memory, tokenOut, token);
    },
    proxy_resolve_shared_queue: (
      vmAt: number,
      vmLength: number,
      nameAt: number,
      nameLength: number,
      tokenOut: number,
    ): number => {
      wasm.checkAllowed('proxy_resolve_shared_queue');
      const vm = readUtf8(memory, vmAt, vmLength);
      const name = readBytes(memory, nameAt, nameLength);
      if (vm === null || name === null) return Status.InvalidMemoryAccess;
      const token = shared.resolveQueue(vm === '' ? vmId : vm, name);
      return token === 0 ? Status.NotFound : writeU32(memory, tokenOut, token);
    },
    proxy_enqueue_shared_queue: (token: number, dataAt: number, dataLength: number): number => {
      wasm.checkAllowed('proxy_enqueue_shared_queue');
      const data = readBytes(memory, dataAt, dataLength);
      if (data === null) return Status.InvalidMemoryAccess;
      return ENQUEUE_RESULT[shared.enqueue(token >>> 0, data)];
    },
    proxy_dequeue_shared_queue: (token: number, pointerOut: number, sizeOut: number): number => {
      wasm.checkAllowed('proxy_dequeue_shared_queue');
      // Checked first: an item must not be lost.
      if (!inMemory(memory, pointerOut >>> 0, 4) || !inMemory(memory, sizeOut >>> 0, 4)) return Status.InvalidMemoryAccess;
      const item = shared.dequeue(token >>> 0);
      if (item === 'unknown') return Status.NotFound;
      return item === 'empty' ? Status.Empty : returnBytes(wasm, item, pointerOut, sizeOut);
    },

    proxy_define_metric: (type: number, nameAt: number, nameLength: number, idOut: number): number => {
      wasm.checkAllowed('proxy_define_metric');
      if (type >>> 0 > MetricType.Histogram) return Status.BadArgument;
      const name = readUtf8(memory, nameAt, nameLength);
      if (name === null || !inMemory(memory, idOut >>> 0, 4)) return Status.InvalidMemoryAccess;
      const id = wasm.metrics.define(type, name);
      return id === 0 ? Status.BadArgument : writeU32(memory, idOut, id);
    },
    proxy_increment_metric: (id: number, delta: bigint): number => {
      wasm.checkAllowed('proxy_increment_metric');
      return wasm.metrics.increment(id >>> 0, delta);
    },
    proxy_record_metric: (id: number, value: bigint): number => {
      wasm.checkAllowed('proxy_record_metric');
      return wasm.metrics.record(id >>> 0, value);
    },
    proxy_get_metric: (id: number, valueOut: number): number => {
      wasm.checkAllowed('proxy_get_metric');
      const found = wasm.metrics.get(id >>> 0);
      return typeof found === 'number' ? found : writeU64(memory, valueOut, BigInt(Math.round(found.value)));
    },
  };
}

const SET_RESULT = { ok: Status.Ok, cas_mismatch: Status.CasMismatch, full: Status.InternalFailure } as const;
const ENQUEUE_RESULT = { ok: Status.Ok, unknown: Status.NotFound, full: Status.InternalFailure } as const;
