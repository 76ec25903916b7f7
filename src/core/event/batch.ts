/**
 * What is gathered during a turn and run at its end. Two arrays take turns, so that what is added meanwhile waits for the next run; both keep
 * their room (emptying an array by its length gives the room back, and filling it again makes it anew: 35 bytes for each request).
 */
export class Batch<T> {
  /** Items that wait. */
  size = 0;
  private items: (T | null)[] = [];
  private spare: (T | null)[] = [];

  push(item: T): void {
    this.items[this.size++] = item;
  }

  /** Runs `each` on what waits now, in order. It must not throw. */
  run(each: (item: T) => void): void {
    const { items, size } = this;
    this.items = this.spare;
    this.spare = items;
    this.size = 0;
    for (let i = 0; i < size; i++) {
      const item = items[i] as T;
      items[i] = null;
      each(item);
    }
  }
}
