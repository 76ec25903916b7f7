/** The callbacks of one stream: usually one or two. Adding and removing per request touches no array length. */
import type { StreamCallbacks } from './codec.ts';

export class StreamCallbackList {
  private readonly items: (StreamCallbacks | null)[] = [null, null];
  private count = 0;

  /** False when it was there already. */
  add(callbacks: StreamCallbacks): boolean {
    for (let i = 0; i < this.count; i++) if (this.items[i] === callbacks) return false;
    if (this.count === this.items.length) this.items.push(null);
    this.items[this.count++] = callbacks;
    return true;
  }

  remove(callbacks: StreamCallbacks): void {
    const items = this.items;
    for (let i = 0; i < this.count; i++) {
      if (items[i] !== callbacks) continue;
      for (let k = i + 1; k < this.count; k++) items[k - 1] = items[k];
      items[--this.count] = null;
      return;
    }
  }

  clear(): void {
    while (this.count > 0) this.items[--this.count] = null;
  }

  /** Empties the list and returns what was in it. */
  take(): StreamCallbacks[] {
    const taken = this.items.slice(0, this.count) as StreamCallbacks[];
    this.clear();
    return taken;
  }

  onAboveWriteBufferHighWatermark(): void {
    for (let i = 0; i < this.count; i++) this.items[i]?.onAboveWriteBufferHighWatermark();
  }

  onBelowWriteBufferLowWatermark(): void {
    for (let i = 0; i < this.count; i++) this.items[i]?.onBelowWriteBufferLowWatermark();
  }
}
