/** Moving values between host and module: every pointer is checked, results are placed where the module's own allocator says. */
import { Status } from '../../abi/enums.ts';
import type { VmMemory } from '../../vm/vm.ts';
import type { Wasm } from '../wasm.ts';

/** True when [pointer, pointer + length) is memory. Both unsigned. Makes the views anew when the memory has grown. */
export function inMemory(memory: VmMemory, pointer: number, length: number): boolean {
  if (memory.u8.length === 0) memory.refresh();
  return pointer + length <= memory.u8.length;
}

export function writeU32(memory: VmMemory, pointer: number, value: number): Status {
  pointer >>>= 0;
  if (!inMemory(memory, pointer, 4)) return Status.InvalidMemoryAccess;
  memory.view.setUint32(pointer, value, true);
  return Status.Ok;
}

export function writeU64(memory: VmMemory, pointer: number, value: bigint): Status {
  pointer >>>= 0;
  if (!inMemory(memory, pointer, 8)) return Status.InvalidMemoryAccess;
  memory.view.setBigUint64(pointer, BigInt.asUintN(64, value), true);
  return Status.Ok;
}

/**
 * Room for `size` bytes in the module, its pointer and size written to the out parameters; -1 when one of them is no memory or the module
 * has no room. With size 0 they are 0 and the allocator is not asked: the result is 0.
 */
export function allocateResult(wasm: Wasm, size: number, pointerOut: number, sizeOut: number): number {
  const { memory } = wasm;
  pointerOut >>>= 0;
  sizeOut >>>= 0;
  if (!inMemory(memory, pointerOut, 4) || !inMemory(memory, sizeOut, 4)) return -1;
  let pointer = 0;
  if (size > 0) {
    pointer = wasm.allocate(size);
    if (pointer === 0) return -1;
    // Memory may have grown.
    if (memory.u8.length === 0) memory.refresh();
  }
  memory.view.setUint32(pointerOut, pointer, true);
  memory.view.setUint32(sizeOut, size, true);
  return pointer;
}

/** Copies `bytes` into the module. */
export function returnBytes(wasm: Wasm, bytes: Uint8Array, pointerOut: number, sizeOut: number): Status {
  const pointer = allocateResult(wasm, bytes.length, pointerOut, sizeOut);
  if (pointer < 0) return Status.InvalidMemoryAccess;
  if (bytes.length > 0) wasm.memory.u8.set(bytes, pointer);
  return Status.Ok;
}

/** A copy of the module's bytes; null: no memory. */
export function readBytes(memory: VmMemory, pointer: number, length: number): Uint8Array | null {
  pointer >>>= 0;
  length >>>= 0;
  return inMemory(memory, pointer, length) ? memory.u8.slice(pointer, pointer + length) : null;
}

/** Null: no memory. */
export function readLatin1(memory: VmMemory, pointer: number, length: number): string | null {
  pointer >>>= 0;
  length >>>= 0;
  if (!inMemory(memory, pointer, length)) return null;
  return Buffer.from(memory.u8.buffer, pointer, length).toString('latin1');
}

export function readUtf8(memory: VmMemory, pointer: number, length: number): string | null {
  pointer >>>= 0;
  length >>>= 0;
  if (!inMemory(memory, pointer, length)) return null;
  return Buffer.from(memory.u8.buffer, pointer, length).toString('utf8');
}
