/** What `sluice exec` leaves to the kernel, or does otherwise than it: a table for `--explain`. */
export interface Limit {
  readonly what: string;
  readonly instead: string;
}

/** What `sluice exec` leaves to the kernel in a Node program, or does otherwise; `sluice exec --explain` prints it. */
export const LIMITS: readonly Limit[] = [
  { what: 'UDP (dgram), QUIC and DNS', instead: 'kernel' },
  { what: 'unix sockets, pipes, and listen() on a descriptor or handle', instead: 'kernel' },
  { what: 'listen() with reusePort', instead: 'kernel' },
  { what: 'sockets made with onread, a handle (BoundSocket) or a descriptor', instead: 'kernel' },
  { what: 'connect() called on a TLSSocket itself (tls.connect is fine)', instead: 'kernel' },
  { what: 'sockets of native addons and of libraries written in C', instead: 'kernel' },
  { what: 'setNoDelay, setKeepAlive, setTypeOfService', instead: 'accepted, without effect on the host stack' },
  { what: 'socket._handle', instead: 'null: http, http2 and tls go over the stream' },
  { what: 'sending sockets or servers to other processes or threads', instead: 'not possible on the host stack' },
  { what: 'cluster', instead: 'each worker listens by itself and the stack deals connections out in turn' },
  {
    what: 'child processes with an environment of their own',
    instead: 'kernel, unless NODE_OPTIONS and SLUICE_EXEC are passed on',
  },
  { what: 'child processes that are not Node', instead: 'kernel' },
  { what: 'sockets that were opened before the preload ran', instead: 'kernel' },
  { what: 'AsyncLocalStorage and async_hooks of accepted connections', instead: 'start from the event of the host stack' },
];

/** The same of programs that are not Node, which get the preload library. */
export const NATIVE_LIMITS: readonly Limit[] = [
  { what: 'rules', instead: "none: every TCP socket is the host stack's" },
  { what: 'statically linked programs, and those with more rights than their caller (setuid)', instead: 'refused, or kernel' },
  {
    what: 'system calls that do not go through the C library; io_uring',
    instead: 'kernel, where they fail on sockets of the stack',
  },
  { what: 'UDP and unix sockets', instead: 'kernel' },
  { what: 'dup of a connected socket; sockets passed over exec', instead: 'not possible on the host stack' },
];
