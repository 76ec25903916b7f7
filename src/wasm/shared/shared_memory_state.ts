/**
 * Shared data and queues of all threads of the process, in shared memory: one table by key (vm_id, then the key), values and items in blocks.
 * The notification of a queue goes to the thread of its latest registrant, over a channel when that is another one.
 *
 * Users of a vm_id: [next, hash, kind, key length, count] then the vm_id. Data and queues of a vm_id go with its last user.
 * Data: [next, hash, kind, key length, value block, value length, cas, -] then the key.
 * Queue: [next, hash, kind, key length, token, first item, last item, thread] then the key. Item: [next, length] then the bytes.
 */
import { FIRST_USER_WORD, SharedMemory, USER_WORDS } from './shared_memory.ts';
import type { QueueListener, SharedDataValue, SharedState } from './shared_state.ts';

const NEXT_CAS = FIRST_USER_WORD;
const NEXT_TOKEN = FIRST_USER_WORD + 1;
const NEXT_THREAD = FIRST_USER_WORD + 2;
const QUEUES = FIRST_USER_WORD + 8;
const MAX_QUEUES = 2048;
const BUCKETS = QUEUES + MAX_QUEUES;
const BUCKET_COUNT = 4096;
if (BUCKETS + BUCKET_COUNT > FIRST_USER_WORD + USER_WORDS) throw new Error('the tables do not fit');

const HEADER_BYTES = 32;
const ITEM_HEADER_BYTES = 8;
const Kind = { Data: 1, Queue: 2, Users: 3 } as const;

const NEXT = 0;
const HASH = 1;
const KIND = 2;
const KEY_LENGTH = 3;
const VALUE = 4;
const VALUE_LENGTH = 5;
const CAS = 6;
const USERS = 4;
const TOKEN = 4;
const FIRST_ITEM = 5;
const LAST_ITEM = 6;
const THREAD = 7;

const CHANNEL = 'sluice.wasm.queues';

interface Notification {
  readonly thread: number;
  readonly token: number;
}

export class SharedMemoryState implements SharedState {
  private readonly memory: SharedMemory;
  private readonly words: Int32Array;
  private readonly u8: Uint8Array;
  private readonly post: (callback: () => void) => void;
  private readonly thread: number;
  private readonly listeners = new Map<number, QueueListener>();
  private channel: BroadcastChannel | null = null;

  /** `post` runs something soon on this thread. */
  constructor(buffer: SharedArrayBuffer, post: (callback: () => void) => void) {
    this.memory = new SharedMemory(buffer);
    this.words = this.memory.words;
    this.u8 = this.memory.u8;
    this.post = post;
    this.thread = Atomics.add(this.memory.words, NEXT_THREAD, 1) + 1;
  }

  retain(vmId: string): void {
    const key = Buffer.from(vmId, 'utf8');
    const hash = hashOf(key);
    this.memory.locked(() => {
      const known = this.find(key, hash, Kind.Users);
      const entry = known === 0 ? this.insert(key, hash, Kind.Users) : known;
      // Full: what this one uses is not given back.
      if (entry !== 0) this.words[entry + USERS] = known === 0 ? 1 : this.words[entry + USERS] + 1;
    });
  }

  release(vmId: string): void {
    const key = Buffer.from(vmId, 'utf8');
    const hash = hashOf(key);
    const prefix = fullKey(vmId, new Uint8Array(0));
    this.memory.locked(() => {
      const entry = this.find(key, hash, Kind.Users);
      if (entry === 0 || --this.words[entry + USERS] > 0) return;
      for (let bucket = BUCKETS; bucket < BUCKETS + BUCKET_COUNT; bucket++) this.sweep(bucket, entry, prefix);
    });
  }

  /** Frees `users` and all entries whose keys begin with `prefix`. */
  private sweep(bucket: number, users: number, prefix: Uint8Array): void {
    const { words } = this;
    let kept = 0;
    for (let entry = words[bucket]; entry !== 0; ) {
      const next = words[entry + NEXT];
      const own =
        words[entry + KIND] !== Kind.Users &&
        words[entry + KEY_LENGTH] >= prefix.length &&
        this.hasKey(entry * 4 + HEADER_BYTES, prefix);
      if (!own && entry !== users) kept = entry;
      else {
        words[kept === 0 ? bucket : kept + NEXT] = next;
        this.freeEntry(entry);
      }
      entry = next;
    }
  }

  private freeEntry(entry: number): void {
    const { words, memory } = this;
    if (words[entry + KIND] === Kind.Data) memory.free(words[entry + VALUE], words[entry + VALUE_LENGTH]);
    else if (words[entry + KIND] === Kind.Queue) {
      for (let block = words[entry + FIRST_ITEM]; block !== 0; ) {
        const next = words[block >> 2];
        memory.free(block, ITEM_HEADER_BYTES + words[(block >> 2) + 1]);
        block = next;
      }
      words[QUEUES + words[entry + TOKEN]] = 0;
    }
    memory.free(entry * 4, HEADER_BYTES + words[entry + KEY_LENGTH]);
  }

  /** A token that no queue has, or 0. Those of queues that are gone come again only when there are no new ones. */
  private newToken(): number {
    const { words } = this;
    if (words[NEXT_TOKEN] < MAX_QUEUES - 1) return ++words[NEXT_TOKEN];
    for (let token = 1; token < MAX_QUEUES; token++) if (words[QUEUES + token] === 0) return token;
    return 0;
  }

  getData(vmId: string, key: Uint8Array): SharedDataValue | null {
    const full = fullKey(vmId, key);
    const hash = hashOf(full);
    return this.memory.locked(() => {
      const entry = this.find(full, hash, Kind.Data);
      if (entry === 0) return null;
      const at = this.words[entry + VALUE];
      const length = this.words[entry + VALUE_LENGTH];
      return { value: copyOf(this.u8, at, length), cas: this.words[entry + CAS] >>> 0 };
    });
  }

  setData(vmId: string, key: Uint8Array, value: Uint8Array, cas: number): 'ok' | 'cas_mismatch' | 'full' {
    const full = fullKey(vmId, key);
    const hash = hashOf(full);
    return this.memory.locked(() => {
      const { words, memory } = this;
      let entry = this.find(full, hash, Kind.Data);
      if (entry !== 0 && cas !== 0 && cas !== words[entry + CAS] >>> 0) return 'cas_mismatch';
      const block = memory.allocate(value.length);
      if (block === 0) return 'full';
      if (entry === 0) {
        entry = this.insert(full, hash, Kind.Data);
        if (entry === 0) {
          memory.free(block, value.length);
          return 'full';
        }
      } else memory.free(words[entry + VALUE], words[entry + VALUE_LENGTH]);
      this.u8.set(value, block);
      words[entry + VALUE] = block;
      words[entry + VALUE_LENGTH] = value.length;
      words[entry + CAS] = ++words[NEXT_CAS];
      return 'ok';
    });
  }

  registerQueue(vmId: string, name: Uint8Array, listener: QueueListener): number {
    const full = fullKey(vmId, name);
    const hash = hashOf(full);
    this.open();
    const token = this.memory.locked(() => {
      const { words } = this;
      let entry = this.find(full, hash, Kind.Queue);
      if (entry === 0) {
        const fresh = this.newToken();
        if (fresh === 0) return 0;
        entry = this.insert(full, hash, Kind.Queue);
        if (entry === 0) return 0;
        words[entry + TOKEN] = fresh;
        words[entry + FIRST_ITEM] = 0;
        words[entry + LAST_ITEM] = 0;
        words[QUEUES + words[entry + TOKEN]] = entry;
      }
      words[entry + THREAD] = this.thread;
      return words[entry + TOKEN];
    });
    if (token !== 0) this.listeners.set(token, listener);
    return token;
  }

  resolveQueue(vmId: string, name: Uint8Array): number {
    const full = fullKey(vmId, name);
    const hash = hashOf(full);
    return this.memory.locked(() => {
      const entry = this.find(full, hash, Kind.Queue);
      return entry === 0 ? 0 : this.words[entry + TOKEN];
    });
  }

  enqueue(token: number, data: Uint8Array): 'ok' | 'unknown' | 'full' {
    const owner = this.memory.locked(() => {
      const { words, memory } = this;
      const queue = this.queueOf(token);
      if (queue === 0) return -1;
      const block = memory.allocate(ITEM_HEADER_BYTES + data.length);
      if (block === 0) return -2;
      words[block >> 2] = 0;
      words[(block >> 2) + 1] = data.length;
      this.u8.set(data, block + ITEM_HEADER_BYTES);
      const last = words[queue + LAST_ITEM];
      if (last === 0) words[queue + FIRST_ITEM] = block;
      else words[last >> 2] = block;
      words[queue + LAST_ITEM] = block;
      return words[queue + THREAD];
    });
    if (owner < 0) return owner === -1 ? 'unknown' : 'full';
    if (owner === this.thread) this.post(() => this.listeners.get(token)?.(token));
    else if (owner !== 0) this.open().postMessage({ thread: owner, token } satisfies Notification);
    return 'ok';
  }

  dequeue(token: number): Uint8Array | 'unknown' | 'empty' {
    return this.memory.locked(() => {
      const { words } = this;
      const queue = this.queueOf(token);
      if (queue === 0) return 'unknown';
      const block = words[queue + FIRST_ITEM];
      if (block === 0) return 'empty';
      const next = words[block >> 2];
      const length = words[(block >> 2) + 1];
      words[queue + FIRST_ITEM] = next;
      if (next === 0) words[queue + LAST_ITEM] = 0;
      const item = copyOf(this.u8, block + ITEM_HEADER_BYTES, length);
      this.memory.free(block, ITEM_HEADER_BYTES + length);
      return item;
    });
  }

  removeListener(listener: QueueListener): void {
    for (const [token, own] of this.listeners) {
      if (own !== listener) continue;
      this.listeners.delete(token);
      this.memory.locked(() => {
        const queue = this.queueOf(token);
        if (queue !== 0 && this.words[queue + THREAD] === this.thread) this.words[queue + THREAD] = 0;
      });
    }
  }

  private open(): BroadcastChannel {
    if (this.channel !== null) return this.channel;
    const channel = new BroadcastChannel(CHANNEL);
    channel.onmessage = (event) => {
      const { thread, token } = (event as { data: Notification }).data;
      if (thread === this.thread) this.listeners.get(token)?.(token);
    };
    // It is no reason for the thread to live.
    (channel as unknown as { unref(): void }).unref();
    this.channel = channel;
    return channel;
  }

  /** Word index of the queue, or 0. */
  private queueOf(token: number): number {
    return token > 0 && token < MAX_QUEUES ? this.words[QUEUES + token] : 0;
  }

  /** Word index of the entry, or 0. */
  private find(key: Uint8Array, hash: number, kind: number): number {
    const { words } = this;
    for (let entry = words[BUCKETS + (hash & (BUCKET_COUNT - 1))]; entry !== 0; entry = words[entry + NEXT]) {
      if (words[entry + HASH] !== hash || words[entry + KIND] !== kind || words[entry + KEY_LENGTH] !== key.length) continue;
      if (this.hasKey(entry * 4 + HEADER_BYTES, key)) return entry;
    }
    return 0;
  }

  private hasKey(at: number, key: Uint8Array): boolean {
    for (let i = 0; i < key.length; i++) if (this.u8[at + i] !== key[i]) return false;
    return true;
  }

  private insert(key: Uint8Array, hash: number, kind: number): number {
    const block = this.memory.allocate(HEADER_BYTES + key.length);
    if (block === 0) return 0;
    const { words } = this;
    const entry = block >> 2;
    const bucket = BUCKETS + (hash & (BUCKET_COUNT - 1));
    words[entry + NEXT] = words[bucket];
    words[entry + HASH] = hash;
    words[entry + KIND] = kind;
    words[entry + KEY_LENGTH] = key.length;
    this.u8.set(key, block + HEADER_BYTES);
    words[bucket] = entry;
    return entry;
  }
}

function fullKey(vmId: string, key: Uint8Array): Uint8Array {
  const prefix = Buffer.from(`${vmId}\0`, 'utf8');
  const full = new Uint8Array(prefix.length + key.length);
  full.set(prefix);
  full.set(key, prefix.length);
  return full;
}

/** FNV-1a. */
function hashOf(bytes: Uint8Array): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < bytes.length; i++) hash = Math.imul(hash ^ bytes[i], 0x01000193);
  return hash | 0;
}

function copyOf(u8: Uint8Array, at: number, length: number): Uint8Array {
  const copy = new Uint8Array(length);
  copy.set(u8.subarray(at, at + length));
  return copy;
}
