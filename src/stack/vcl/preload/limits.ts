/** What `sluice exec` leaves to the kernel in a Node program, or does otherwise; `sluice exec --explain` prints it. */
export const LIMITS: readonly { readonly what: string; readonly instead: string }[] = [
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
  { what: 'programs that are not Node (Node starts them all the same)', instead: 'kernel' },
  { what: 'sockets that were opened before the preload ran', instead: 'kernel' },
  { what: 'AsyncLocalStorage and async_hooks of accepted connections', instead: 'start from the event of the host stack' },
];
