/** How a thread attaches to a stack: the exchange on the application socket, blocking or in the event loop. */
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createDoorbell } from '../../core/sys/doorbell.ts';
import { pollDescriptors } from '../../core/sys/eventfd.ts';
import { ownDescriptor } from '../../core/sys/thread_descriptors.ts';
import { closeDescriptor, connectSeqpacket, type Received, receivePacket, sendPacket } from '../../core/sys/unix_socket.ts';
import { type AddWorkerMessage, type AttachedMessage, type AttachMessage, decodeSapi, encodeSapi } from '../session/sapi.ts';
import { LAYOUT_VERSION, SegmentKind } from '../svm/layout.ts';
import { Segment } from '../svm/segment.ts';
import { NODE_LOOP } from './event_loop.ts';

/** How an application attaches. What is not given comes from VCL's environment and configuration file (`vcl_config.ts`), then the default. */
export interface AppOptions {
  /** Directory of the stack's sockets; default: `sluice` in the temporary directory. */
  runtimeDir?: string;
  /** Default `default`. */
  namespaceId?: string;
  /** Default: none. */
  namespaceSecret?: string;
  /** Of sessions that this application accepts. Default 1 MB. */
  rxFifoSize?: number;
  txFifoSize?: number;
  /** Both by default. */
  scopeLocal?: boolean;
  scopeGlobal?: boolean;
  /** How long blocking calls look again before they sleep, in microseconds. Default: up to 50, while that is worth it. */
  spinUs?: number;
  /** How long attaching may take. Default 5 s. */
  timeoutMs?: number;
  /** Without a heartbeat for so long the stack counts as hung, and requests to it fail. Default 10 s; 0: never. */
  heartbeatTimeoutMs?: number;
}

/** What another thread of the same application needs to add itself as a worker. Survives `postMessage`. */
export interface WorkerTicket {
  socketPath: string;
  appIndex: number;
  token: string;
  spinUs: number;
  heartbeatTimeoutMs: number;
}

/** The stack refused, or is not there. */
export class AttachError extends Error {
  readonly code: string;

  constructor(message: string, code = 'EATTACH') {
    super(message);
    this.name = 'AttachError';
    this.code = code;
  }
}

export interface Attachment {
  socket: number;
  reply: AttachedMessage;
  segment: Segment;
  /** Rings the stack. */
  stackFd: number;
  /** Rung by the stack; the hearing end. */
  bellFd: number;
}

const DEFAULT_FIFO_SIZE = 1 << 20;
const DEFAULT_TIMEOUT_MS = 5000;

export function defaultRuntimeDir(): string {
  return process.env['SLUICE_RUNTIME_DIR'] ?? join(tmpdir(), 'sluice');
}

export function appSocketPath(options: AppOptions): string {
  return join(
    options.runtimeDir ?? defaultRuntimeDir(),
    'app_ns_sockets',
    options.namespaceId ?? process.env['VCL_APP_NAMESPACE_ID'] ?? 'default',
  );
}

export function attachMessage(name: string, options: AppOptions): AttachMessage {
  return {
    type: 'attach',
    layoutVersion: LAYOUT_VERSION,
    name,
    secret: options.namespaceSecret ?? '',
    rxFifoSize: options.rxFifoSize ?? DEFAULT_FIFO_SIZE,
    txFifoSize: options.txFifoSize ?? DEFAULT_FIFO_SIZE,
    scopeLocal: options.scopeLocal ?? true,
    scopeGlobal: options.scopeGlobal ?? true,
  };
}

/** Blocks the thread: the stack must run in another. Throws AttachError, or SysError when nobody listens. */
export function attachBlocking(
  path: string,
  message: AttachMessage | AddWorkerMessage,
  timeoutMs = DEFAULT_TIMEOUT_MS,
): Attachment {
  const socket = open(path, message);
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const received = receivePacket(socket);
    if (received.kind !== 'again') return complete(socket, received);
    const left = deadline - Date.now();
    if (left <= 0) {
      closeDescriptor(socket);
      throw new AttachError(`no answer from the stack at ${path}`, 'ETIMEDOUT');
    }
    pollDescriptors([socket], left);
  }
}

/** The same in the event loop. */
export async function attachAsync(
  path: string,
  message: AttachMessage | AddWorkerMessage,
  timeoutMs = DEFAULT_TIMEOUT_MS,
): Promise<Attachment> {
  // The stack lets go of its end of this pipe when it has answered, or when it dies.
  const { ringFd, hearFd } = createDoorbell();
  let socket: number;
  try {
    socket = open(path, message, [ringFd]);
  } catch (error) {
    closeDescriptor(hearFd);
    throw error;
  } finally {
    closeDescriptor(ringFd);
  }
  const received = await new Promise<Received>((resolve) => {
    const finish = (): void => {
      clearTimeout(timer);
      watch.close();
      closeDescriptor(hearFd);
      resolve(receivePacket(socket));
    };
    const timer = setTimeout(finish, timeoutMs);
    const watch = NODE_LOOP.watch(hearFd, finish);
  });
  if (received.kind === 'again') {
    closeDescriptor(socket);
    throw new AttachError(`no answer from the stack at ${path}`, 'ETIMEDOUT');
  }
  return complete(socket, received);
}

function open(path: string, message: AttachMessage | AddWorkerMessage, fds: readonly number[] = []): number {
  const socket = ownDescriptor(connectSeqpacket(path));
  const error = sendPacket(socket, encodeSapi(message), fds);
  if (error === null) return socket;
  closeDescriptor(socket);
  throw error;
}

function complete(socket: number, received: Received): Attachment {
  const fds = received.kind === 'packet' ? received.fds : [];
  try {
    if (received.kind === 'error') throw received.error;
    if (received.kind !== 'packet') throw new AttachError('the stack closed the connection');
    const reply = decodeSapi(received.data);
    if (reply?.type === 'refused') throw new AttachError(`the stack refused: ${reply.reason}`);
    if (reply?.type !== 'attached' || fds.length !== 3) throw new AttachError('unexpected answer from the stack');
    const segment = Segment.attach(fds[0]);
    if (typeof segment === 'string') throw new AttachError(segment);
    if (segment.layout.kind !== SegmentKind.MessageQueue) throw new AttachError('segment has the wrong kind');
    closeDescriptor(fds[0]);
    return { socket, reply, segment, stackFd: ownDescriptor(fds[1]), bellFd: ownDescriptor(fds[2]) };
  } catch (error) {
    for (const fd of [...fds, socket]) closeDescriptor(fd);
    throw error;
  }
}
