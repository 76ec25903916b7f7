/** Buffers: bodies, TCP data, configurations, answers of call-outs (`proxy_*_buffer_*`). */

import { BufferType, LAST_BUFFER_TYPE, Status } from '../../abi/enums.ts';
import type { EnvFunctionName } from '../../abi/imports.ts';
import type { Context } from '../context.ts';
import type { HostFunctions } from '../host_functions.ts';
import type { Wasm } from '../wasm.ts';
import { allocateResult, inMemory, returnBytes, writeU32 } from './memory.ts';

/** What a body may become by one module's doing: what it cannot hold in its own memory it can still make by appending. */
const MAX_BUFFER_BYTES = 64 << 20;

export function bufferFunctions(wasm: Wasm): HostFunctions<EnvFunctionName> {
  const { memory } = wasm;
  return {
    proxy_get_buffer_bytes: (type: number, start: number, maxSize: number, pointerOut: number, sizeOut: number): number => {
      wasm.checkAllowed('proxy_get_buffer_bytes');
      if (type >>> 0 > LAST_BUFFER_TYPE) return Status.BadArgument;
      start >>>= 0;
      maxSize >>>= 0;
      const buffer = (wasm.effective as Context).buffer(type);
      if (buffer === null) return Status.NotFound;
      const size = start >= buffer.length ? 0 : Math.min(maxSize, buffer.length - start);
      const pointer = allocateResult(wasm, size, pointerOut, sizeOut);
      if (pointer < 0) return Status.InvalidMemoryAccess;
      if (size > 0) buffer.copyOut(start, memory.u8.subarray(pointer, pointer + size));
      return Status.Ok;
    },

    proxy_get_buffer_status: (type: number, sizeOut: number, flagsOut: number): number => {
      wasm.checkAllowed('proxy_get_buffer_status');
      if (type >>> 0 > LAST_BUFFER_TYPE) return Status.BadArgument;
      const buffer = (wasm.effective as Context).buffer(type);
      if (buffer === null) return Status.NotFound;
      return writeU32(memory, sizeOut, buffer.length) || writeU32(memory, flagsOut, 0);
    },

    proxy_set_buffer_bytes: (type: number, start: number, size: number, data: number, dataLength: number): number => {
      wasm.checkAllowed('proxy_set_buffer_bytes');
      if (type >>> 0 > LAST_BUFFER_TYPE) return Status.BadArgument;
      start >>>= 0;
      size >>>= 0;
      data >>>= 0;
      dataLength >>>= 0;
      if (!inMemory(memory, data, dataLength)) return Status.InvalidMemoryAccess;
      const buffer = (wasm.effective as Context).mutableBuffer(type);
      if (buffer === null) return (wasm.effective as Context).buffer(type) === null ? Status.NotFound : Status.BadArgument;
      const dropped = start === 0 ? Math.min(size, buffer.length) : 0;
      if (buffer.length - dropped + dataLength > MAX_BUFFER_BYTES) return Status.InternalFailure;
      if (start === 0) {
        if (dropped > 0) buffer.drain(dropped);
        if (dataLength > 0) buffer.prepend(memory.u8, data, data + dataLength);
        return Status.Ok;
      }
      // As Envoy: at the end is appending, inside is nothing that it can do.
      if (start < buffer.length) return Status.BadArgument;
      if (dataLength > 0) buffer.append(memory.u8, data, data + dataLength);
      return Status.Ok;
    },

    /** 0.1.0: the plugin's configuration while it is configured, the VM's at other times. */
    proxy_get_configuration: (pointerOut: number, sizeOut: number): number => {
      wasm.checkAllowed('proxy_get_configuration');
      const context = wasm.effective as Context;
      const buffer = context.buffer(
        context.root?.configuring === true ? BufferType.PluginConfiguration : BufferType.VmConfiguration,
      );
      const bytes = new Uint8Array(buffer?.length ?? 0);
      buffer?.copyOut(0, bytes);
      return returnBytes(wasm, bytes, pointerOut, sizeOut);
    },
  };
}
