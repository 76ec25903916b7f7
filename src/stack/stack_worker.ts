/** The thread of an embedded stack (see `create_host_stack.ts`): runs until it is told to close. */
import { parentPort, workerData } from 'node:worker_threads';
import { closeDescriptor } from '../core/sys/unix_socket.ts';
import { UvPoll } from '../core/sys/uv_poll.ts';
import { runCommand } from './ctl/commands.ts';
import { HostStack, type HostStackOptions } from './host_stack.ts';

export type StackRequest = { type: 'command'; id: number; line: string; json: boolean };
export type StackReply =
  | { type: 'ready' }
  | { type: 'failed'; message: string }
  | { type: 'result'; id: number; ok: boolean; text: string };

const { options, stopFd, stopped } = workerData as { options: HostStackOptions; stopFd: number; stopped: Int32Array };
const port = parentPort!;

start();

function start(): void {
  let stack: HostStack;
  try {
    stack = new HostStack(options);
  } catch (error) {
    port.postMessage({ type: 'failed', message: error instanceof Error ? error.message : String(error) } satisfies StackReply);
    return;
  }
  // An eventfd, not a message: the other thread may be inside its exit handler and wait.
  const stop = new UvPoll(stopFd, () => {
    stop.close();
    closeDescriptor(stopFd);
    stack.close();
    port.close();
    Atomics.store(stopped, 0, 1);
    Atomics.notify(stopped, 0);
  });
  port.on('message', (request: StackRequest) => {
    const result = runCommand(stack, request.line, request.json);
    port.postMessage({ type: 'result', id: request.id, ...result } satisfies StackReply);
  });
  port.postMessage({ type: 'ready' } satisfies StackReply);
}
