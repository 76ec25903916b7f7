/** Socket options on VCL sessions (Envoy: contrib/vcl, VclIoHandle::setOption and getOption). */
import { E } from '../../../../core/sys/libc.ts';
import * as sys from '../../../../core/sys/socket.ts';
import { type AttributeName, attribute } from '../../../../stack/vcl/attributes.ts';
import type { VclSession } from '../../../../stack/vcl/session.ts';
import { ConfigError } from '../../../config/error.ts';

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

const OPTIONS: readonly Option[] = [
  { level: sys.IPPROTO_TCP, name: sys.TCP_NODELAY, attribute: 'tcpNodelay', honoured: true },
  { level: sys.IPPROTO_TCP, name: TCP_MAXSEG, attribute: 'tcpUserMss' },
  { level: sys.IPPROTO_TCP, name: sys.TCP_KEEPIDLE, attribute: 'tcpKeepidle' },
  { level: sys.IPPROTO_TCP, name: sys.TCP_KEEPINTVL, attribute: 'tcpKeepintvl' },
  { level: sys.IPPROTO_IPV6, name: sys.IPV6_V6ONLY, attribute: 'v6only', honoured: true },
  { level: sys.SOL_SOCKET, name: sys.SO_KEEPALIVE, attribute: 'keepalive' },
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
