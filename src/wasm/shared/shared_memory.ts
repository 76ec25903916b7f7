/**
 * A growing piece of memory that all threads of the process share, with a lock and an allocator by powers of two. Blocks are byte offsets;
 * 0 is none. What is freed is kept for the next block of its size.
 */
import { getEnvironmentData, setEnvironmentData } from 'node:worker_threads';
import { DEFAULT_SHARED_BYTES } from './shared_state.ts';

const INITIAL_BYTES = 256 << 10;
const KEY = 'sluice.wasm.shared';

const LOCK = 0;
const BUMP = 1;
const FREE_LISTS = 4;
const SIZE_CLASSES = 32;
/** Words from here on are the user's own. */
export const FIRST_USER_WORD = FREE_LISTS + SIZE_CLASSES;
export const USER_WORDS = 8192;
const HEADER_BYTES = (FIRST_USER_WORD + USER_WORDS) * 4;
const SMALLEST_CLASS = 5;

const UNLOCKED = 0;
const LOCKED = 1;
const CONTENDED = 2;

/** The process's memory for shared state: threads get it from the one that made them. */
export function processSharedMemory(): SharedArrayBuffer {
  let memory = getEnvironmentData(KEY) as SharedArrayBuffer | undefined;
  if (memory === undefined) {
    memory = new SharedArrayBuffer(INITIAL_BYTES, { maxByteLength: DEFAULT_SHARED_BYTES });
    setEnvironmentData(KEY, memory);
  }
  return memory;
}

export class SharedMemory {
  readonly words: Int32Array<SharedArrayBuffer>;
  readonly u8: Uint8Array<SharedArrayBuffer>;
  private readonly buffer: SharedArrayBuffer;

  constructor(buffer: SharedArrayBuffer) {
    this.buffer = buffer;
    // Without a length they follow the buffer's.
    this.words = new Int32Array(buffer);
    this.u8 = new Uint8Array(buffer);
  }

  /** Runs `action` while no other thread does. It must not wait for anything. */
  locked<T>(action: () => T): T {
    this.lock();
    try {
      return action();
    } finally {
      this.unlock();
    }
  }

  private lock(): void {
    const { words } = this;
    if (Atomics.compareExchange(words, LOCK, UNLOCKED, LOCKED) === UNLOCKED) return;
    while (Atomics.exchange(words, LOCK, CONTENDED) !== UNLOCKED) Atomics.wait(words, LOCK, CONTENDED);
  }

  private unlock(): void {
    if (Atomics.exchange(this.words, LOCK, UNLOCKED) === CONTENDED) Atomics.notify(this.words, LOCK, 1);
  }

  /** A block of at least `size` bytes, or 0: the memory is full. Locked. */
  allocate(size: number): number {
    const sizeClass = classOf(size);
    const { words } = this;
    const free = words[FREE_LISTS + sizeClass];
    if (free !== 0) {
      words[FREE_LISTS + sizeClass] = words[free >> 2];
      return free;
    }
    const start = words[BUMP] === 0 ? HEADER_BYTES : words[BUMP];
    const end = start + 2 ** sizeClass;
    if (end > this.buffer.byteLength && !this.grow(end)) return 0;
    words[BUMP] = end;
    return start;
  }

  free(block: number, size: number): void {
    const list = FREE_LISTS + classOf(size);
    this.words[block >> 2] = this.words[list];
    this.words[list] = block;
  }

  private grow(wanted: number): boolean {
    const { maxByteLength, byteLength } = this.buffer;
    if (wanted > maxByteLength) return false;
    this.buffer.grow(Math.min(maxByteLength, Math.max(wanted, byteLength * 2)));
    return true;
  }
}

function classOf(size: number): number {
  let sizeClass = SMALLEST_CLASS;
  while (2 ** sizeClass < size) sizeClass++;
  return sizeClass;
}
