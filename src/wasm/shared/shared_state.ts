/**
 * What all VMs of the process share: data by key with compare-and-swap, and queues. Interface, and the implementation for one thread; the
 * one for all threads lives in shared memory (`shared_memory_state.ts`).
 */

export interface SharedDataValue {
  readonly value: Uint8Array;
  readonly cas: number;
}

/** A queue was filled: `contextId` of the VM that registered it gets `proxy_on_queue_ready`. */
export type QueueListener = (token: number) => void;

export interface SharedState {
  /** A plugin with this vm_id began; counted. */
  retain(vmId: string): void;
  /** It is gone. With the last one of a vm_id its data and queues go, too. */
  release(vmId: string): void;
  /** Null: absent. The bytes are the caller's. */
  getData(vmId: string, key: Uint8Array): SharedDataValue | null;
  /** `cas` 0 writes always. 'full': the memory for shared data is used up. */
  setData(vmId: string, key: Uint8Array, value: Uint8Array, cas: number): 'ok' | 'cas_mismatch' | 'full';
  /** The queue's token; its notifications go to `listener` from now on. */
  registerQueue(vmId: string, name: Uint8Array, listener: QueueListener): number;
  /** 0: there is none. */
  resolveQueue(vmId: string, name: Uint8Array): number;
  enqueue(token: number, data: Uint8Array): 'ok' | 'unknown' | 'full';
  dequeue(token: number): Uint8Array | 'unknown' | 'empty';
  /** The VM that registered it is gone. */
  removeListener(listener: QueueListener): void;
}

/** At most this many bytes of keys, values and queued data. */
export const DEFAULT_SHARED_BYTES = 64 << 20;

interface Queue {
  readonly items: Uint8Array[];
  head: number;
  listener: QueueListener | null;
}

/** For one thread. */
export class LocalSharedState implements SharedState {
  private readonly data = new Map<string, { value: Uint8Array; cas: number }>();
  /** By token, from 1; undefined: gone. */
  private readonly queues: (Queue | undefined)[] = [];
  private readonly tokens = new Map<string, number>();
  private readonly limitBytes: number;
  private readonly post: (callback: () => void) => void;
  private readonly users = new Map<string, number>();
  private bytes = 0;
  private nextCas = 1;

  constructor(post: (callback: () => void) => void, limitBytes: number = DEFAULT_SHARED_BYTES) {
    this.post = post;
    this.limitBytes = limitBytes;
  }

  retain(vmId: string): void {
    this.users.set(vmId, (this.users.get(vmId) ?? 0) + 1);
  }

  release(vmId: string): void {
    const left = (this.users.get(vmId) ?? 0) - 1;
    if (left > 0) {
      this.users.set(vmId, left);
      return;
    }
    this.users.delete(vmId);
    const prefix = `${vmId}\0`;
    for (const [name, { value }] of this.data) {
      if (!name.startsWith(prefix)) continue;
      this.data.delete(name);
      this.bytes -= name.length + value.length;
    }
    for (const [name, token] of this.tokens) {
      if (!name.startsWith(prefix)) continue;
      this.tokens.delete(name);
      const queue = this.queues[token - 1] as Queue;
      for (let i = queue.head; i < queue.items.length; i++) this.bytes -= queue.items[i].length;
      this.queues[token - 1] = undefined;
    }
  }

  getData(vmId: string, key: Uint8Array): SharedDataValue | null {
    return this.data.get(keyOf(vmId, key)) ?? null;
  }

  setData(vmId: string, key: Uint8Array, value: Uint8Array, cas: number): 'ok' | 'cas_mismatch' | 'full' {
    const name = keyOf(vmId, key);
    const old = this.data.get(name);
    if (old !== undefined && cas !== 0 && cas !== old.cas) return 'cas_mismatch';
    const growth = old === undefined ? name.length + value.length : value.length - old.value.length;
    if (this.bytes + growth > this.limitBytes) return 'full';
    this.bytes += growth;
    this.data.set(name, { value: value.slice(), cas: this.nextCas++ });
    return 'ok';
  }

  registerQueue(vmId: string, name: Uint8Array, listener: QueueListener): number {
    const key = keyOf(vmId, name);
    let token = this.tokens.get(key);
    if (token === undefined) {
      token = this.queues.push({ items: [], head: 0, listener: null });
      this.tokens.set(key, token);
    }
    (this.queues[token - 1] as Queue).listener = listener;
    return token;
  }

  resolveQueue(vmId: string, name: Uint8Array): number {
    return this.tokens.get(keyOf(vmId, name)) ?? 0;
  }

  enqueue(token: number, data: Uint8Array): 'ok' | 'unknown' | 'full' {
    const queue = this.queues[token - 1];
    if (queue === undefined) return 'unknown';
    if (this.bytes + data.length > this.limitBytes) return 'full';
    this.bytes += data.length;
    queue.items.push(data.slice());
    this.post(() => queue.listener?.(token));
    return 'ok';
  }

  dequeue(token: number): Uint8Array | 'unknown' | 'empty' {
    const queue = this.queues[token - 1];
    if (queue === undefined) return 'unknown';
    if (queue.head === queue.items.length) return 'empty';
    const item = queue.items[queue.head++];
    this.bytes -= item.length;
    if (queue.head === queue.items.length || queue.head > 1024) {
      queue.items.splice(0, queue.head);
      queue.head = 0;
    }
    return item;
  }

  removeListener(listener: QueueListener): void {
    for (const queue of this.queues) if (queue?.listener === listener) queue.listener = null;
  }
}

function keyOf(vmId: string, key: Uint8Array): string {
  return `${vmId}\0${Buffer.from(key.buffer, key.byteOffset, key.length).toString('latin1')}`;
}
