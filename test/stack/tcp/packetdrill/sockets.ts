/** The socket calls of packetdrill scripts on our TCP: descriptors, blocking and not, errors as errno names. */

import { IpAddress } from '../../../../src/stack/ip/address.ts';
import type { TransportAttributeName } from '../../../../src/stack/session/transport_attributes.ts';
import { connectionAttribute } from '../../../../src/stack/tcp/attributes.ts';
import { CC_NAMES } from '../../../../src/stack/tcp/cc/congestion_control.ts';
import type { TcpConnection } from '../../../../src/stack/tcp/connection.ts';
import type { TcpListener } from '../../../../src/stack/tcp/listener.ts';
import type { TcpError } from '../../../../src/stack/tcp/state.ts';
import { PEER, type Script } from '../script.ts';

/** What a call returned; null: it would block. */
export type CallResult = { value: number; errno: string | null } | null;

interface Socket {
  nonBlocking: boolean;
  listener: TcpListener | null;
  connection: TcpConnection | null;
  error: string;
  /** To be told once, by the next call or SO_ERROR. */
  told: boolean;
  lingerReset: boolean;
  written: number;
  options: [TransportAttributeName, number][];
}

const ERRNO: Readonly<Record<TcpError, string>> = {
  none: '',
  refused: 'ECONNREFUSED',
  reset: 'ECONNRESET',
  timedOut: 'ETIMEDOUT',
  aborted: 'ECONNABORTED',
  unreachable: 'EHOSTUNREACH',
  noPort: 'EADDRINUSE',
  noRoute: 'ENETUNREACH',
};
const OPTIONS: Readonly<Record<string, TransportAttributeName>> = {
  TCP_NODELAY: 'tcpNodelay',
  TCP_MAXSEG: 'tcpUserMss',
  TCP_KEEPIDLE: 'tcpKeepidle',
  TCP_KEEPINTVL: 'tcpKeepintvl',
  TCP_KEEPCNT: 'tcpKeepcnt',
  TCP_USER_TIMEOUT: 'tcpUserTimeout',
  SO_KEEPALIVE: 'keepalive',
};
const O_NONBLOCK = 0x800;
const O_RDWR = 2;

const ok = (value: number): CallResult => ({ value, errno: null });
const failed = (errno: string): CallResult => ({ value: -1, errno });

export class Sockets {
  /** The one that packets are about. */
  current: TcpConnection | null = null;
  private readonly script: Script;
  private readonly all = new Map<number, Socket>();
  private nextFd = 3;
  private readonly scratch = new Uint8Array(1 << 20);

  constructor(script: Script) {
    this.script = script;
  }

  /** Throws on a call, or an option, that is not known. Called again while a blocking call waits: `first` is false then. */
  call(name: string, args: readonly string[], first: boolean): CallResult {
    if (name === 'socket') return ok(this.add().fd);
    const socket = this.all.get(Number(args[0]));
    if (socket === undefined) return failed('EBADF');
    switch (name) {
      case 'bind':
        return ok(0);
      case 'listen':
        socket.listener = this.script.listen(Number(args[1]));
        return ok(0);
      case 'accept':
      case 'accept4':
        return this.accept(socket, args);
      case 'connect':
        return this.connect(socket, first);
      case 'write':
      case 'send':
        return this.write(socket, Number(args[2]), first, (args[3] ?? '').includes('MSG_OOB'));
      case 'read':
      case 'recv':
        return this.read(socket, Number(args[2]));
      case 'shutdown':
        if (args[1] !== 'SHUT_WR' && args[1] !== 'SHUT_RDWR') throw new Error(`shutdown ${args[1]} is not known`);
        if (socket.connection === null || socket.error !== '') return failed('ENOTCONN');
        socket.connection.shutdown();
        return ok(0);
      case 'close':
        this.close(Number(args[0]), socket);
        return ok(0);
      case 'fcntl':
        return this.fcntl(socket, args);
      case 'setsockopt':
        return this.setOption(socket, args);
      case 'getsockopt':
        return this.getOption(socket, args);
    }
    throw new Error(`the call ${name} is not known`);
  }

  private add(): { fd: number; socket: Socket } {
    const fd = this.nextFd++;
    const socket: Socket = {
      nonBlocking: false,
      listener: null,
      connection: null,
      error: '',
      told: false,
      lingerReset: false,
      written: 0,
      options: [],
    };
    this.all.set(fd, socket);
    return { fd, socket };
  }

  private accept(from: Socket, args: readonly string[]): CallResult {
    const connection = from.listener?.accept() ?? null;
    if (from.listener === null) return failed('EINVAL');
    if (connection === null) return from.nonBlocking ? failed('EAGAIN') : null;
    const { fd, socket } = this.add();
    socket.nonBlocking = (args[3] ?? '').includes('SOCK_NONBLOCK');
    socket.options.push(...from.options);
    this.use(socket, connection);
    return ok(fd);
  }

  private connect(socket: Socket, first: boolean): CallResult {
    const { connection } = socket;
    if (connection !== null) {
      const error = this.takeError(socket);
      if (error !== null) return error;
      if (connection.synchronized) return first && socket.told ? failed('EISCONN') : this.connected(socket);
      return socket.nonBlocking ? failed('EALREADY') : null;
    }
    const { tcp, nowUs, peerPort } = this.script;
    const made = tcp.connect({ remote: PEER, remotePort: peerPort, local: IpAddress.parse('10.0.0.2')! }, nowUs);
    if (typeof made === 'string') return failed(ERRNO[made]);
    this.use(socket, made);
    this.script.localPort = made.localPort;
    return socket.nonBlocking ? failed('EINPROGRESS') : null;
  }

  private connected(socket: Socket): CallResult {
    socket.told = true;
    return ok(0);
  }

  private use(socket: Socket, connection: TcpConnection): void {
    socket.connection = connection;
    this.current = connection;
    connection.app = {
      onClosed: (_c, error) => {
        socket.error = ERRNO[error];
      },
    };
    for (const [name, value] of socket.options) connectionAttribute(connection, name, value);
  }

  private write(socket: Socket, bytes: number, first: boolean, urgent: boolean): CallResult {
    const error = this.takeError(socket);
    if (error !== null) return error;
    const { connection } = socket;
    if (connection === null) return failed('ENOTCONN');
    if (first) socket.written = 0;
    if (!connection.canWrite) return failed('EPIPE');
    if (first && urgent) connectionAttribute(connection, 'urgent', connection.source.length + bytes);
    socket.written += connection.write(this.scratch, 0, bytes - socket.written);
    if (socket.written === bytes) return ok(bytes);
    if (!socket.nonBlocking) return null;
    return socket.written > 0 ? ok(socket.written) : failed('EAGAIN');
  }

  private read(socket: Socket, bytes: number): CallResult {
    const { connection } = socket;
    if (connection === null) return failed('ENOTCONN');
    const n = connection.read(this.scratch, 0, bytes);
    if (n > 0) return ok(n);
    const error = this.takeError(socket);
    if (error !== null) return error;
    if (connection.finReceived) return ok(0);
    return socket.nonBlocking ? failed('EAGAIN') : null;
  }

  private takeError(socket: Socket): CallResult {
    if (socket.error === '' || socket.told) return null;
    socket.told = true;
    return failed(socket.error);
  }

  private close(fd: number, socket: Socket): void {
    this.all.delete(fd);
    socket.listener?.close();
    if (socket.lingerReset) socket.connection?.abort();
    else socket.connection?.close();
  }

  private fcntl(socket: Socket, args: readonly string[]): CallResult {
    if (args[1] === 'F_GETFL') return ok(O_RDWR | (socket.nonBlocking ? O_NONBLOCK : 0));
    if (args[1] !== 'F_SETFL') throw new Error(`fcntl ${args[1]} is not known`);
    socket.nonBlocking = args[2].includes('O_NONBLOCK');
    return ok(0);
  }

  private setOption(socket: Socket, [, , name, value]: readonly string[]): CallResult {
    if (name === 'SO_REUSEADDR') return ok(0);
    if (name === 'SO_LINGER') {
      socket.lingerReset = /onoff=1/.test(value) && /linger=0/.test(value);
      return ok(0);
    }
    if (name === 'TCP_CONGESTION') return this.apply(socket, 'tcpCongestion', congestionControl(value));
    const attribute = OPTIONS[name];
    if (attribute === undefined) throw new Error(`the option ${name} is not known`);
    return this.apply(socket, attribute, Number(value.replace(/[[\]]/g, '')));
  }

  private apply(socket: Socket, name: TransportAttributeName, value: number): CallResult {
    socket.options.push([name, value]);
    if (socket.connection !== null) connectionAttribute(socket.connection, name, value);
    return ok(0);
  }

  private getOption(socket: Socket, [, , name, value]: readonly string[]): CallResult {
    if (name !== 'SO_ERROR') throw new Error(`the option ${name} cannot be asked for`);
    const error = socket.told ? '' : socket.error;
    socket.told = true;
    const wanted = value.replace(/[[\]]/g, '').trim();
    if (wanted !== (error === '' ? '0' : error)) throw new Error(`SO_ERROR is ${error === '' ? '0' : error}, not ${wanted}`);
    return ok(0);
  }
}

function congestionControl(value: string): number {
  const name = value.replace(/["[\]]/g, '');
  const index = (CC_NAMES as readonly string[]).indexOf(name === 'reno' ? 'newreno' : name);
  if (index < 0) throw new Error(`congestion control ${value} is not known`);
  return index;
}
