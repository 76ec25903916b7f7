/** Errors with the fields that Node's socket errors have, from negative errnos. */
import { errnoName, strerror } from '../../core/sys/libc.ts';

export interface SocketError extends NodeJS.ErrnoException {
  address?: string;
  port?: number;
}

/** `connect ECONNREFUSED 127.0.0.1:80`, with code, errno, syscall, address and port. */
export function socketError(errno: number, syscall: string, address?: string, port?: number): SocketError {
  const code = errnoName(errno);
  const where = address === undefined ? '' : ` ${address}${port === undefined ? '' : `:${port}`}`;
  const text = syscall === 'listen' ? `: ${strerror(errno).toLowerCase()}` : '';
  const error: SocketError = new Error(`${syscall} ${code}${text}${where}`);
  error.code = code;
  error.errno = -errno;
  error.syscall = syscall;
  if (address !== undefined) error.address = address;
  if (port !== undefined) error.port = port;
  return error;
}
