/**
 * Earliest deadline first: each pick advances its entry's deadline by 1 / weight, so entries are picked in proportion to their weights
 * and evenly spread (Envoy: source/common/upstream/edf_scheduler.h). A binary heap in flat arrays; ties go to what was added first.
 */
export class EdfScheduler<T> {
  private readonly items: T[] = [];
  private readonly deadlines: number[] = [];
  private readonly orders: number[] = [];
  private now = 0;
  private nextOrder = 0;

  get size(): number {
    return this.items.length;
  }

  /** `weight` > 0. */
  add(weight: number, item: T): void {
    this.items.push(item);
    this.deadlines.push(this.now + 1 / weight);
    this.orders.push(this.nextOrder++);
    this.siftUp(this.items.length - 1);
  }

  /** The entry with the earliest deadline; it goes back in with the weight that `weightOf` gives it now. Null when empty. */
  pickAndAdd(weightOf: (item: T) => number): T | null {
    if (this.items.length === 0) return null;
    const item = this.items[0];
    this.now = this.deadlines[0];
    this.deadlines[0] = this.now + 1 / weightOf(item);
    this.orders[0] = this.nextOrder++;
    this.siftDown(0);
    return item;
  }

  private before(a: number, b: number): boolean {
    const d = this.deadlines[a] - this.deadlines[b];
    return d < 0 || (d === 0 && this.orders[a] < this.orders[b]);
  }

  private siftUp(i: number): void {
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (!this.before(i, parent)) return;
      this.swap(i, parent);
      i = parent;
    }
  }

  private siftDown(i: number): void {
    const n = this.items.length;
    for (;;) {
      const left = 2 * i + 1;
      const right = left + 1;
      let least = i;
      if (left < n && this.before(left, least)) least = left;
      if (right < n && this.before(right, least)) least = right;
      if (least === i) return;
      this.swap(i, least);
      i = least;
    }
  }

  private swap(a: number, b: number): void {
    const item = this.items[a];
    this.items[a] = this.items[b];
    this.items[b] = item;
    const deadline = this.deadlines[a];
    this.deadlines[a] = this.deadlines[b];
    this.deadlines[b] = deadline;
    const order = this.orders[a];
    this.orders[a] = this.orders[b];
    this.orders[b] = order;
  }
}
