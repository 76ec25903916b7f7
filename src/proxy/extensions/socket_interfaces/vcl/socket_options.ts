/** Socket options on VCL sessions (Envoy: contrib/vcl, VclIoHandle::setOption and getOption). */
import { E, SysError } from '../../../../core/sys/libc.ts';
import * as sys from '../../../../core/sys/socket.ts';
import { type AttributeName, attribute } from '../../../../stack/vcl/attributes.ts';
import type { VclSession } from '../../../../stack/vcl/session.ts';
import { ConfigError } from '../../../config/error.ts';
import type { ConnectOptions } from '../../../network/io_handle.ts';

type SocketOptions = NonNullable<ConnectOptions['socketOptions']>;

interface Option {
  level: number;
  name: number;
  attribute: AttributeName;
  /** Reading only. */
  readOnly?: true;
  /** The host stack does what it says: configuration may ask for it. */
  honoured?: true;
}

const SO_BROADCAST = 6;
const SO_SNDBUF = 7;
const SO_RCVBUF = 8;
const SO_ACCEPTCONN = 30;
const TCP_MAXSEG = 2;
const TCP_USER_TIMEOUT = 18;

const OPTIONS: readonly Option[] = [
  { level: sys.IPPROTO_TCP, name: sys.TCP_NODELAY, attribute: 'tcpNodelay', honoured: true },
  { level: sys.IPPROTO_TCP, name: TCP_MAXSEG, attribute: 'tcpUserMss', honoured: true },
  // On a cut-through connection they have nothing to do: a peer on the stack that goes is noticed at once.
  { level: sys.IPPROTO_TCP, name: sys.TCP_KEEPIDLE, attribute: 'tcpKeepidle', honoured: true },
  { level: sys.IPPROTO_TCP, name: sys.TCP_KEEPINTVL, attribute: 'tcpKeepintvl', honoured: true },
  { level: sys.IPPROTO_TCP, name: sys.TCP_KEEPCNT, attribute: 'tcpKeepcnt', honoured: true },
  { level: sys.IPPROTO_TCP, name: TCP_USER_TIMEOUT, attribute: 'tcpUserTimeout', honoured: true },
  { level: sys.IPPROTO_IPV6, name: sys.IPV6_V6ONLY, attribute: 'v6only', honoured: true },
  { level: sys.SOL_SOCKET, name: sys.SO_KEEPALIVE, attribute: 'keepalive', honoured: true },
  { level: sys.SOL_SOCKET, name: sys.SO_REUSEADDR, attribute: 'reuseaddr', honoured: true },
  { level: sys.SOL_SOCKET, name: sys.SO_REUSEPORT, attribute: 'reuseport', honoured: true },
  { level: sys.SOL_SOCKET, name: SO_BROADCAST, attribute: 'broadcast' },
  { level: sys.SOL_SOCKET, name: SO_SNDBUF, attribute: 'txFifoLen', readOnly: true },
  { level: sys.SOL_SOCKET, name: SO_RCVBUF, attribute: 'rxFifoLen', readOnly: true },
  { level: sys.SOL_SOCKET, name: sys.SO_ERROR, attribute: 'error', readOnly: true },
  { level: sys.SOL_SOCKET, name: SO_ACCEPTCONN, attribute: 'listen', readOnly: true },
];

function find(level: number, name: number): Option | undefined {
  return OPTIONS.find((option) => option.level === level && option.name === name);
}

/** Sets them all; returns the first that was refused, and why. */
export function setSessionOptions(session: VclSession, options: SocketOptions | undefined): SysError | null {
  for (const { level, name, value } of options ?? []) {
    const error = typeof value === 'number' ? setSessionOption(session, level, name, value) : E.OPNOTSUPP;
    if (error !== 0) return new SysError('setsockopt', error, `level ${level}, name ${name}`);
  }
  return null;
}

/** Returns 0 or an errno. */
export function setSessionOption(session: VclSession, level: number, name: number, value: number): number {
  const option = find(level, name);
  if (option === undefined || option.readOnly) return E.OPNOTSUPP;
  return -attribute(session, option.attribute, value) | 0;
}

/** The value, or a negative errno. */
export function getSessionOption(session: VclSession, level: number, name: number): number {
  const option = find(level, name);
  return option === undefined ? -E.OPNOTSUPP : attribute(session, option.attribute);
}

/** Throws ConfigError for an option that the host stack would not honour. */
export function checkOption(level: number, name: number, path: string): void {
  if (find(level, name)?.honoured) return;
  throw new ConfigError(`the vcl socket interface does not support the socket option of level ${level}, name ${name}`, { path });
}
