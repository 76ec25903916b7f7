/** A worker's sessions by their three names: the application's handle, the context of a request, and the stack's index. */
import type { VclSession } from './session.ts';

export class SessionTable {
  /** By handle; null: free. */
  readonly all: (VclSession | null)[] = [];
  private readonly freeHandles: number[] = [];
  private readonly stackNames = new Map<number, VclSession>();
  /** Listeners, and sessions whose request is on its way, by the name the stack gives back. Handles are reused too soon for that. */
  private readonly contexts = new Map<number, VclSession>();
  private nextContext = 1;

  get count(): number {
    return this.all.length - this.freeHandles.length;
  }

  /** The handle that the next `add` will use. */
  get nextHandle(): number {
    return this.freeHandles.length > 0 ? this.freeHandles[this.freeHandles.length - 1] : this.all.length;
  }

  add(session: VclSession): void {
    this.freeHandles.pop();
    this.all[session.sh] = session;
  }

  /** The application has closed it. The stack may still speak of it. */
  remove(session: VclSession): void {
    this.all[session.sh] = null;
    this.freeHandles.push(session.sh);
    session.sh = -1;
    this.contexts.delete(session.context);
  }

  /** Gives the session the name that the stack's answer will carry. */
  expectAnswer(session: VclSession): void {
    session.context = this.nextContext;
    this.nextContext = (this.nextContext + 1) & 0x7fff_ffff;
    this.contexts.set(session.context, session);
  }

  answered(session: VclSession): void {
    this.contexts.delete(session.context);
  }

  byContext(context: number): VclSession | undefined {
    return this.contexts.get(context);
  }

  /** Those with a request on its way, and listeners. */
  get expecting(): IterableIterator<VclSession> {
    return this.contexts.values();
  }

  setStackName(session: VclSession, index: number, generation: number): void {
    session.stackIndex = index;
    session.stackGeneration = generation;
    this.stackNames.set(index, session);
  }

  byStackName(index: number, generation: number): VclSession | undefined {
    const session = this.stackNames.get(index);
    return session?.stackGeneration === generation ? session : undefined;
  }

  /** The stack has forgotten it. */
  dropStackName(session: VclSession): void {
    this.stackNames.delete(session.stackIndex);
  }

  /** Empties the stack's names and returns who had one. */
  takeStackNames(): VclSession[] {
    const held = [...this.stackNames.values()];
    this.stackNames.clear();
    return held;
  }
}
