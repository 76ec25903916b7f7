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
  { what: 'statically linked programs, and those with more rights than their caller (setuid)', instead: 'refused, or kernel' },
  {
    what: 'system calls that do not go through the C library; io_uring',
    instead: 'kernel, where they fail on sockets of the stack',
  },
  { what: 'unix sockets, raw sockets, multicast; DNS as the C library asks', instead: 'kernel' },
  { what: 'a datagram socket that is not bound', instead: 'goes where its first datagram goes' },
  { what: 'an address in use', instead: 'TCP: listen() says so, not bind()' },
  {
    what: 'a connection that several processes hold (fork)',
    instead: 'one of them moves bytes at a time; whoever wants to gets it from the other, which costs: better that only one does',
  },
  { what: 'a connect on its way, datagram sockets and listeners of datagrams in a child of fork', instead: 'ENOTCONN' },
  {
    what: 'exec, posix_spawn, system()',
    instead: 'connections and listeners go on in the new program (with the same environment)',
  },
  { what: 'popen(), and new programs that are Node, static or without that environment', instead: 'connections are dead there' },
  { what: 'vfork', instead: 'fork' },
  { what: 'a connection sent to another program (SCM_RIGHTS)', instead: 'refused (EOPNOTSUPP)' },
  { what: 'SO_REUSEPORT between programs', instead: 'EADDRINUSE: the processes of one program share a listener' },
  {
    what: 'an epoll set with sockets of the stack inside another',
    instead: 'refused (EINVAL); in poll it sees those of the kernel only',
  },
  { what: 'UDP_SEGMENT, UDP_GRO, TCP_ULP, TCP_FASTOPEN_CONNECT, SO_ZEROCOPY, IP_TRANSPARENT', instead: 'refused (ENOPROTOOPT)' },
  { what: 'SO_SNDBUF, SO_RCVBUF, SO_LINGER with a time, TCP_CORK, IP_PKTINFO', instead: 'accepted, without effect' },
  { what: 'TCP_INFO', instead: 'the state only' },
  { what: 'MSG_OOB, SIGIO, pthread_cancel in a call that waits', instead: 'not supported' },
];
