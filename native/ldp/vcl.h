/*
 * The host stack's application side in C: what the preload library is made of. It speaks the same protocol as src/stack/vcl: attach over a
 * unix SOCK_SEQPACKET socket, then messages and bytes in shared segments. Numbers of the layout come from constants.h, which is generated
 * from the TypeScript tables when the library is built.
 *
 * One worker per process; everything below is called with `vcl_lock` held. Like its counterpart it trusts nothing that it reads from a
 * segment: indices are checked, and a FIFO or ring with an impossible one is "corrupted" and moves nothing any more.
 */
#ifndef SLUICE_VCL_H
#define SLUICE_VCL_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "constants.h"

/* libc's close: ours would take the lock. */
int kernel_close(int fd);
/* A descriptor of the library itself: moved out of the way of the program's, which cannot close it. */
int internal_fd(int fd);
/* Of this process, without a system call. */
pid_t ldp_pid(void);

/* --- segments (segment.c) --- */

struct segment {
  uint8_t *base;
  int32_t *words;
  size_t bytes;
  uint32_t kind, slots, arena_pages, io_capacity, control_capacity;
  uint32_t ring_offset, slot_offset, table_offset, arena_first_page;
};

struct ring {
  int32_t *words;
  uint32_t capacity, element_words, head, tail;
  bool corrupted;
};

struct queue_producer {
  int32_t *armed;
  struct ring io, control;
  int ring_fd;
};

struct queue_consumer {
  int32_t *armed;
  struct ring io, control;
};

/* Pages of one side of a segment, in chunks of 4 KB and 64 KB. What is free stands in the segment: several processes may use it. */
struct arena {
  struct segment *segment;
  uint32_t first_page, end_page;
  int32_t *words, *used_pages;
};

struct chunk {
  uint32_t page, start, order;
};

struct fifo_producer {
  struct arena *arena;
  int32_t *header;
  uint32_t head, tail;
  struct chunk *chunks;
  uint32_t count, room, tail_chunk;
  bool corrupted;
};

struct fifo_consumer {
  struct segment *segment;
  int32_t *header;
  uint32_t head, tail, page, start, bytes, first_page, end_page;
  bool corrupted;
};

/* NULL, or why the memory behind `fd` is not acceptable. */
const char *segment_attach(struct segment *segment, int fd);
void segment_detach(struct segment *segment);
int32_t *segment_fifo(const struct segment *segment, uint32_t slot, uint32_t direction);

void queue_producer_init(struct queue_producer *queue, struct segment *segment, uint32_t direction, int ring_fd);
void queue_consumer_init(struct queue_consumer *queue, struct segment *segment, uint32_t direction);
bool queue_send_io(struct queue_producer *queue, int32_t event);
bool queue_send_control(struct queue_producer *queue, const int32_t *message, bool lazy);
void queue_signal(struct queue_producer *queue);
/* -1: none. */
int32_t queue_take_io(struct queue_consumer *queue);
bool queue_take_control(struct queue_consumer *queue, int32_t *message);
bool queue_take_want_room(struct queue_consumer *queue);
/* Asks for the bell; false when something has come meanwhile. */
bool queue_arm(struct queue_consumer *queue);

void arena_init(struct arena *arena, struct segment *segment, uint32_t side);

void fifo_producer_init(struct fifo_producer *fifo, struct arena *arena, int32_t *header);
/* Gives all chunks back. */
void fifo_producer_release(struct fifo_producer *fifo);
/* What is known of it here is void; the chunks stay. */
void fifo_producer_forget(struct fifo_producer *fifo);
/* Goes on where another process has stopped. */
void fifo_producer_resume(struct fifo_producer *fifo);
size_t fifo_write(struct fifo_producer *fifo, const void *data, size_t length);
/* Both, visible together, or nothing. */
bool fifo_write_pair(struct fifo_producer *fifo, const void *head, size_t head_length, const void *data, size_t length);
uint32_t fifo_size(struct fifo_producer *fifo);
/* Written and not read yet. */
uint32_t fifo_queued(struct fifo_producer *fifo);
uint32_t fifo_free(struct fifo_producer *fifo);
bool fifo_raise_event(struct fifo_producer *fifo);
/* Asks to be told of room; true when there is some already. */
bool fifo_want_room(struct fifo_producer *fifo, uint32_t threshold);

void fifo_consumer_init(struct fifo_consumer *fifo, struct segment *segment, int32_t *header, uint32_t producer_side);
void fifo_consumer_resume(struct fifo_consumer *fifo);
uint32_t fifo_used(struct fifo_consumer *fifo);
/* Bytes in a FIFO that is another process's. */
uint32_t fifo_level(const int32_t *header);
/* `data` NULL: throws them away. */
size_t fifo_read(struct fifo_consumer *fifo, void *data, size_t length, bool peek);
void fifo_clear_event(struct fifo_consumer *fifo);
bool fifo_should_notify(struct fifo_consumer *fifo);

/* Of several processes with the slot, this worker's is the one that may use it, and does until it leaves. `header`: what this side writes. */
bool slot_enter(int32_t *header, int32_t worker);
void slot_leave(int32_t *header, int32_t worker);

/* --- sessions (worker.c, session_io.c) --- */

enum session_state { SESSION_CREATED, SESSION_BOUND, SESSION_LISTENING, SESSION_CONNECTING, SESSION_READY, SESSION_CLOSED };

struct segment_end {
  int32_t id;
  uint32_t side;
  struct segment segment;
  struct arena arena;
  struct queue_consumer from_peer;
  struct queue_producer to_peer;
  /* What the peer rings; -1: the stack rings the worker's own bell. */
  int bell_fd;
  struct session **sessions;
  uint32_t in_use;
  bool deleted;
  /* For the bytes of sessions that were another process's before: their events come and go elsewhere. */
  bool borrowed;
  struct segment_end *next;
};

struct endpoint {
  bool is_v4;
  int32_t words[4];
  uint16_t port;
};

struct watcher;
struct packet;

struct session {
  /* How many descriptors stand for it: 0 before it is accepted, and once the program has closed them all. `fd` is one of them. */
  int fds, fd;
  int family;
  bool datagram;
  enum session_state state;
  struct endpoint local, remote;
  int error;
  bool read_closed, peer_closed, write_shut, ring_on_accept, v6only;
  /* What it waits for while CONNECTING is a connection, not an address to listen at. */
  bool dialing;
  /* A write found no memory although there was room. */
  bool starved;
  /* Linger for no time: close is a reset. */
  bool reset_on_close;
  /* Connect: the kernel is asked when nobody answers on the stack. */
  bool or_kernel;
  /* Of a listener: this process has looked for connections, and so gets them. */
  bool used;
  /* Listened in the parent before the fork, or on a stack that has gone: taken up when this process uses it. */
  bool inherited;
  /* The stack knows that this process has it, and keeps the address for it until then. */
  bool held;
  /* The kernel socket is bound already. */
  bool kernel_bound;
  int backlog;
  int32_t context, stack_index, stack_generation;
  /* Where its events come and go, and where its bytes are: the same, until it has been handed to another process on either side. */
  struct segment_end *end, *memory;
  uint32_t slot, memory_slot;
  /* Several processes hold it (share.c): this one is the one that uses it; does right now; has asked to be. */
  bool shared, owned, inside, claimed;
  /* What was written is in memory that this process manages. */
  bool home;
  int64_t taken_ms;
  uint64_t inode;
  struct fifo_consumer rx;
  struct fifo_producer tx;
  /* Count events, for edge-triggered watchers. */
  uint32_t in_events, out_events;
  struct watcher *watchers;
  struct session *accept_head, *accept_tail, *accept_next;
  struct session *next, *previous;
  struct session *name_next, *context_next;
  /* Values of attributes for the transport, and which of them are set. */
  int32_t attributes[MAX_ATTRIBUTE + 1];
  uint32_t attributes_set;
  /* Of a datagram socket: the sessions of its peers, those among them with something to read, and the one that serves the network. */
  struct session *peers, *readable_head, *readable_tail, *network;
  /* Of a datagram socket: where connect said; port 0: nowhere. */
  struct endpoint target;
  bool network_turn;
  /* Of a peer: its socket, and what waits for the answer to its connect. */
  struct session *owner, *peer_next, *readable_next;
  bool in_readable;
  struct packet *pending_head, *pending_tail;
  uint32_t pending;
};

void vcl_lock(void);
void vcl_unlock(void);
/* Lets other threads look at what was raised. */
void vcl_tell(void);
/* Attaches when that has not been done in this process. 0, or an errno. */
int vcl_ready(void);
struct session *session_create(int family, bool datagram);
int session_listen(struct session *session, int backlog);
int session_connect(struct session *session);
/* Before a listener is used: from now on this process gets connections. */
void session_take_up(struct session *session);
struct session *session_accept(struct session *listener);
void session_close(struct session *session);
/* Frees it: neither the stack nor the program knows of it. */
void session_forget(struct session *session);
int session_shutdown_write(struct session *session);
/* Listens no more; the session is bound as before. */
void session_unlisten(struct session *session);
/* Bytes, or a negative errno (-EAGAIN: not now). */
ssize_t session_read(struct session *session, void *data, size_t length, bool peek);
ssize_t session_write(struct session *session, const void *data, size_t length);
/* How many bytes a write would take now; asks to be told of room when none. */
size_t session_room(struct session *session);
/* poll(2) bits. */
short session_readiness(struct session *session);
/* Something has happened: watchers look. */
void session_raise(struct session *session, bool in, bool out);
void session_fail(struct session *session, int error);
/* For the transport of a connection: now, or when there is one. */
void session_attribute(struct session *session, int attribute, int32_t value);
/* Its bytes go through the stack to a network. */
bool session_has_transport(const struct session *session);
/* What was read has made room. */
void session_has_read(struct session *session);
void session_has_written(struct session *session);
/* There was room, but no memory: tried again soon. */
void session_starve(struct session *session);

/* Handles what has come; how much that was. */
int worker_drain(void);
/* Arms all bells; false when there is something to handle. */
bool worker_arm(void);
/* An epoll descriptor of the kernel's that is readable when a bell rings; -1: not attached. */
int worker_bells(void);
/* Counts up with each. */
extern unsigned worker_bells_version;
void worker_empty_bells(void);
/* The longest sleep, in milliseconds: something must be tried again. -1: no limit. */
int worker_patience(void);
/* Around fork: before it, and in the child and in the parent. */
void worker_before_fork(void);
void worker_after_fork(void);
void worker_forked(void);
/* What makes a program after exec a worker of the same application: it shares the listeners. */
struct ticket {
  int32_t app_index;
  char token[80];
};
void worker_ticket(struct ticket *ticket);
void worker_use_ticket(const struct ticket *ticket);
/* As the kernel does with the sockets of a process that ends. */
void worker_close_all(void);

/* --- between worker.c, ends.c and share.c --- */

extern struct session *worker_sessions;
int32_t worker_index(void);
/* The stack is there, and this process is attached to it. */
bool worker_is_attached(void);
int worker_socket(void);
/* A request about a session. `context`: 0, or what the request says there. */
void worker_request(int type, const struct session *session, int32_t context, int32_t flags);
void worker_send(const int32_t *message);
void session_add_name(struct session *session);
struct segment_end *worker_find_end(const int32_t *message);
extern struct segment_end *worker_ends;
void end_release(struct segment_end *end);
void end_free(struct segment_end *end);
void worker_add_bell(int fd, void *what);
void worker_stack_gone(void);
/* It is in no slot any more. */
void session_leave_events(struct session *session);
/* From now on its events come and go there. */
bool session_enter_events(struct session *session, struct segment_end *end, uint32_t slot);

/* --- sessions of several processes (share.c) --- */

/* The socket on which the stack knows a process to come; -1: there is nothing to hold, or no stack. Every session of `each` is held. */
int share_make_heir(bool (*each)(const struct session *session), bool listeners);
/* Before fork; in the parent; in the child, and there for each session. */
void share_before_fork(void);
void share_forked(void);
void share_born(void);
void share_session_after_fork(struct session *session);
/* After exec: the socket that this process was born with. */
void share_use_heir(int socket);
bool share_is_heir(void);
/* -1: none. */
int share_take_heir(void);
/* The stack knows nothing of what this process was born with. */
void share_lost(void);
/* 0: it may be used until share_leave; else an errno, EAGAIN when it has been asked for. `now`: there is something to do. */
int share_enter(struct session *session, bool now);
void share_leave(struct session *session);
/* Waits for what this process has never used to become its own. */
void share_wait(struct session *session);
/* Of what another process uses: bytes to read, bytes that are not read by the peer, and room. */
uint32_t share_readable(const struct session *session);
uint32_t share_written(const struct session *session);
uint32_t share_room(const struct session *session);
void share_close(struct session *session);
/* Of a listener that was held across fork, and not used. */
void share_close_listener(struct session *session);
void share_notice(struct session *session, const int32_t *message);

/* --- datagrams (datagram.c) --- */

#define MAX_DATAGRAM 65507

/* Asks for a port, and for all that comes to it; waits for the answer. 0, or an errno. */
int datagram_bind(struct session *session);
/* From now on this peer only; the port is free for others. Waits for the answer. */
int datagram_connect(struct session *session, const struct endpoint *to);
void datagram_disconnect(struct session *session);
/* Waits until the stack has said whether that peer is there. 0, or an errno. */
int datagram_probe(struct session *session, const struct endpoint *to);
/* Bytes, or a negative errno; all or nothing. */
ssize_t datagram_send(struct session *session, const void *data, size_t length, const struct endpoint *to);
/* What is sent waits for the answer to a connect. */
bool datagram_waits(struct session *session, const struct endpoint *to);
/* Takes `length` bytes of the next datagram; `whole`: of how many. Bytes, or a negative errno. */
ssize_t datagram_receive(struct session *session, void *data, size_t length, bool peek, struct endpoint *from, size_t *whole);
/* Of the next one; 0: none. */
size_t datagram_next_length(struct session *session);
short datagram_readiness(struct session *session);
void datagram_close(struct session *session);
/* Of the worker: a peer has news; a listener of datagrams has a new peer; a peer is over. */
void datagram_raised(struct session *peer, bool in);
void datagram_accepted(struct session *session, struct session *peer);
void datagram_unlink(struct session *peer);
bool same_endpoint(const struct endpoint *a, const struct endpoint *b);

/* --- attaching (attach.c) --- */

struct attachment {
  int socket, stack_fd, bell_fd;
  int app_index, worker_index;
  char token[80];
  struct segment segment;
};

/* As what: a new application; another worker of the application of the attachment; what the stack was told to expect on that socket. */
enum attach_as { ATTACH_NEW, ATTACH_WORKER, ATTACH_HEIR };

/* A connection to the stack, on which nothing has been asked yet; -1: there is none. */
int connect_stack(void);
/* NULL, or why not. `socket`: connected before, or -1. */
const char *attach(struct attachment *attachment, enum attach_as as, int socket);
/* Tells the stack of the socket of a process to come; false when it does not listen. */
bool send_heir(int socket, int id, int heir);
void send_unlisten(int socket, const struct session *session);
/* The next segment that the stack has sent: 1, and fills; 0: none; -1: the stack has gone. Without bells (-1) it is for bytes only. */
int receive_segment(int socket, int32_t *id, uint32_t *side, int fds[3]);

#endif
