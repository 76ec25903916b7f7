/** An intrusive doubly linked list: adding, and removing from anywhere, without allocation. An element is in one list at a time. */
export interface Links<T> {
  prev: T | null;
  next: T | null;
}

export class LinkedList<T extends Links<T>> {
  first: T | null = null;
  last: T | null = null;
  size = 0;

  pushFront(element: T): void {
    element.prev = null;
    element.next = this.first;
    if (this.first === null) this.last = element;
    else this.first.prev = element;
    this.first = element;
    this.size++;
  }

  pushBack(element: T): void {
    element.next = null;
    element.prev = this.last;
    if (this.last === null) this.first = element;
    else this.last.next = element;
    this.last = element;
    this.size++;
  }

  remove(element: T): void {
    if (element.prev === null) this.first = element.next;
    else element.prev.next = element.next;
    if (element.next === null) this.last = element.prev;
    else element.next.prev = element.prev;
    element.prev = null;
    element.next = null;
    this.size--;
  }

  /** A copy, for walking while elements come and go. */
  toArray(): T[] {
    const all: T[] = [];
    for (let e = this.first; e !== null; e = e.next) all.push(e);
    return all;
  }
}
