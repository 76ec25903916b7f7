/**
 * Reading a FIFO by reference: its bytes are lent as slices of a slab, through a window on the producer's arena, and the room that they
 * take is given back when they are released. It is given back in order: the producer knows of one head.
 *
 * What can be lent are whole blocks of the slab that belong to this FIFO alone, that is, chunks of at least a block. The rest is copied by
 * the reader, and counts as read when everything before it has been given back.
 *
 * The producer can change lent bytes at any time, and a hostile one can link a chunk twice: a block that is on loan is not lent again but
 * for what follows in it.
 */
import { BLOCK_SIZE } from '../../core/buffer/slab.ts';
import type { BlockHolder, SlabWindow } from '../../core/buffer/slab_windows.ts';
import type { FifoConsumer } from './fifo_consumer.ts';

export class FifoLoans implements BlockHolder {
  /** Of the last slice that `lend` gave out: its position in the slab. */
  offset = 0;
  private readonly rx: FifoConsumer;
  private readonly window: SlabWindow;
  private readonly onReturned: () => void;
  /** Blocks on loan (as bytes in the window) in the order of the stream, and where in the stream the loan of each begins. */
  private blocks: number[] = [];
  private starts: number[] = [];
  private first = 0;
  private returned = false;
  private ended = false;

  /** `onReturned`: something was given back, call `settle` soon. */
  constructor(rx: FifoConsumer, window: SlabWindow, onReturned: () => void) {
    this.rx = rx;
    this.window = window;
    this.onReturned = onReturned;
  }

  /**
   * Lends the next bytes, at most `length`, as one slice at `offset`, whose reference is the caller's. 0: there are none, or they have to
   * be copied.
   */
  lend(length: number): number {
    const { rx, window, blocks } = this;
    const run = rx.nextRun();
    const at = rx.runOffset;
    if (run === 0 || rx.runChunkBytes < BLOCK_SIZE || rx.runChunkOffset % BLOCK_SIZE !== 0) return 0;
    const inBlock = at % BLOCK_SIZE;
    const block = at - inBlock;
    const last = blocks.length - 1;
    const again = last >= this.first && blocks[last] === block;
    if ((!again && !window.isFree(at)) || !window.take(at, this)) return 0;
    if (!again) {
      blocks.push(block);
      this.starts.push(rx.position);
    }
    const n = Math.min(run, length, BLOCK_SIZE - inBlock);
    rx.lent = true;
    rx.take(n);
    this.offset = window.start + at;
    return n;
  }

  onBlockFree(): void {
    if (this.returned || this.ended) return;
    this.returned = true;
    this.onReturned();
  }

  /** Tells the producer's side what has been given back, if that has changed. */
  settle(): void {
    if (!this.returned || this.ended) return;
    this.returned = false;
    const { blocks, window, rx } = this;
    let { first } = this;
    while (first < blocks.length && window.isFree(blocks[first])) first++;
    if (first === this.first) return;
    if (first === blocks.length) {
      blocks.length = this.starts.length = first = 0;
      rx.lent = false;
      rx.publish(rx.position);
    } else rx.publish(this.starts[first]);
    if (first > 64) {
      blocks.splice(0, first);
      this.starts.splice(0, first);
      first = 0;
    }
    this.first = first;
  }

  /** The FIFO is not read any more and its memory may go: what is still on loan becomes a copy. */
  end(): void {
    if (this.ended) return;
    this.ended = true;
    for (let i = this.first; i < this.blocks.length; i++) this.window.keep(this.blocks[i]);
    this.blocks = [];
    this.starts = [];
  }
}
