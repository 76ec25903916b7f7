/** What this thread's memory has to spare, and how it gives that back. */
import { getHeapStatistics, setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { BLOCK_SIZE, type Slab } from '../../core/buffer/slab.ts';

/** Resident bytes of V8's heap and of the slab that hold nothing now. */
export function spareMemory(slab: Slab | null): number {
  const { total_physical_size, used_heap_size } = getHeapStatistics();
  return Math.max(0, total_physical_size - used_heap_size) + (slab === null ? 0 : slab.idleBlocks * BLOCK_SIZE);
}

let collect: (() => void) | null = null;

/** Collects garbage and returns what is free to the kernel: a pause of some milliseconds. */
export function shrinkMemory(slab: Slab | null): void {
  if (collect === null) {
    setFlagsFromString('--expose-gc');
    collect = runInNewContext('gc') as () => void;
  }
  collect();
  slab?.shrink();
}
