/**
 * How many frames wait to be sent (Envoy: ProtocolConstraints): what a peer can make grow that asks and does not read.
 *
 * The codec sees bytes only, so marks are kept: "up to this byte, so many frames". A mark whose bytes are gone takes its frames along.
 */

const MARKS = 64;

export class OutboundQueue {
  frames = 0;
  controlFrames = 0;
  private written = 0;
  private readonly ends = new Float64Array(MARKS);
  private readonly frameCounts = new Int32Array(MARKS);
  private readonly controlCounts = new Int32Array(MARKS);
  private first = 0;
  private count = 0;
  private openFrames = 0;
  private openControl = 0;

  add(control: boolean): void {
    this.frames++;
    this.openFrames++;
    if (!control) return;
    this.controlFrames++;
    this.openControl++;
  }

  /** `bytes` were given to the connection, with all frames added since. */
  onWritten(bytes: number): void {
    this.written += bytes;
    if (this.openFrames === 0) return;
    let at = (this.first + this.count) % MARKS;
    // Full: the newest mark takes the frames.
    if (this.count === MARKS) at = (at + MARKS - 1) % MARKS;
    else {
      this.count++;
      this.frameCounts[at] = 0;
      this.controlCounts[at] = 0;
    }
    this.ends[at] = this.written;
    this.frameCounts[at] += this.openFrames;
    this.controlCounts[at] += this.openControl;
    this.openFrames = 0;
    this.openControl = 0;
  }

  /** `pending` bytes are not with the kernel yet. */
  onPending(pending: number): void {
    const sent = this.written - pending;
    while (this.count > 0 && this.ends[this.first] <= sent) {
      this.frames -= this.frameCounts[this.first];
      this.controlFrames -= this.controlCounts[this.first];
      this.first = (this.first + 1) % MARKS;
      this.count--;
    }
  }
}
