/* The process's worker: its sessions, the segments it shares, requests to the stack and the stack's notices (src/stack/vcl/worker.ts). */
#define _GNU_SOURCE
#include "ldp.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
/* By this thread; by it for a fork. */
static __thread bool locked, locks_fork;
static struct attachment attachment;
static bool attached, gone, was_attached;
/* Connected right after the fork: a worker that drops its privileges cannot do it later. */
static int prepared = -1;
static struct queue_producer to_stack;
static struct queue_consumer from_stack;
/* Holds the bells of the stack and of all segments. */
static int bells = -1;
unsigned worker_bells_version;
/* All that the stack or the application knows of. */
struct session *worker_sessions;
static int32_t next_context = 1;
/* Something was raised since the lock was taken; a bell was emptied. */
static bool raised, rung;
/* Some session is `starved`; listeners wait for a stack, and are tried again then. */
static bool some_starved, some_passive;
static int lost_listeners;
static int64_t try_again_ms;
/* A child may have the listeners too. */
static bool has_forked;
static int64_t take_up_ms;
static uint16_t take_up_port;

#define STARVED_WAIT_MS 5
#define REATTACH_MS 100
#define TAKE_UP_MS 200

/* By stack_index and by context. */
#define BUCKETS 4096
static struct session *by_name[BUCKETS], *by_context[BUCKETS];

void vcl_lock(void) {
  pthread_mutex_lock(&mutex);
  locked = true;
}

void vcl_tell(void) {
  if (rung && ldp_somebody_sleeps()) {
    /* Whoever empties a bell arms it again for those who sleep on. */
    rung = false;
    while (!worker_arm() && worker_drain() > 0) continue;
  }
  if (!raised) return;
  raised = false;
  ldp_wake_sleepers();
}

void vcl_unlock(void) {
  vcl_tell();
  locked = false;
  pthread_mutex_unlock(&mutex);
}

static void leave_stack(void);
static void leave_slot(struct session *s);

void worker_add_bell(int fd, void *what) {
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = what};
  kernel_epoll_ctl(bells, EPOLL_CTL_ADD, fd, &event);
}

int vcl_ready(void) {
  static bool told;
  if (attached && !gone) return 0;
  if (attached) {
    /* Another stack may be there by now. */
    leave_stack();
    was_attached = false;
  }
  bool heir = share_is_heir();
  const char *error = heir ? attach(&attachment, ATTACH_HEIR, share_take_heir()) : "";
  if (heir && error != NULL) share_lost();
  if (error != NULL) error = attach(&attachment, was_attached ? ATTACH_WORKER : ATTACH_NEW, prepared);
  else if (prepared >= 0) kernel_close(prepared);
  /* The application of the parent, or of the program before exec, may be gone. */
  if (error != NULL && was_attached) error = attach(&attachment, ATTACH_NEW, -1);
  prepared = -1;
  if (error != NULL) {
    if (!told) fprintf(stderr, "sluice: %s\n", error);
    told = true;
    return ENETDOWN;
  }
  attached = was_attached = true;
  gone = told = false;
  bells = internal_fd(epoll_create1(EPOLL_CLOEXEC));
  worker_bells_version++;
  worker_add_bell(attachment.bell_fd, NULL);
  queue_producer_init(&to_stack, &attachment.segment, 1, attachment.stack_fd);
  queue_consumer_init(&from_stack, &attachment.segment, 0);
  return 0;
}

bool worker_is_attached(void) { return attached && !gone; }

int32_t worker_index(void) { return attachment.worker_index; }

int worker_socket(void) { return attachment.socket; }

void worker_ticket(struct ticket *ticket) {
  memset(ticket, 0, sizeof *ticket);
  ticket->app_index = attachment.app_index;
  memcpy(ticket->token, attachment.token, sizeof ticket->token);
}

void worker_use_ticket(const struct ticket *ticket) {
  attachment.app_index = ticket->app_index;
  memcpy(attachment.token, ticket->token, sizeof attachment.token);
  attachment.token[sizeof attachment.token - 1] = 0;
  was_attached = true;
}

/* --- requests --- */

void session_raise(struct session *s, bool in, bool out) {
  s->in_events += in;
  s->out_events += out;
  raised = true;
  if (s->watchers != NULL) ldp_epoll_raised(s);
  if (s->owner != NULL) datagram_raised(s, in);
}

void session_fail(struct session *s, int error) {
  if (s->error == 0) s->error = error;
  s->read_closed = s->peer_closed = true;
  session_raise(s, true, true);
}

/* Sends in order; waits for the stack to make room when the queue is full. */
static void send_message(const int32_t *message, bool lazy) {
  while (attached && !gone && !queue_send_control(&to_stack, message, lazy)) {
    struct pollfd bell = {.fd = attachment.bell_fd, .events = POLLIN};
    queue_signal(&to_stack);
    if (to_stack.control.corrupted) return;
    poll(&bell, 1, 10);
    worker_empty_bells();
  }
}

static void request(int type, const struct session *s, int32_t flags, bool lazy) {
  int32_t m[CONTROL_ELEMENT_WORDS] = {0};
  m[MESSAGE_TYPE] = type;
  m[MESSAGE_SESSION] = s->stack_index;
  m[MESSAGE_GENERATION] = s->stack_generation;
  m[MESSAGE_FLAGS] = flags;
  send_message(m, lazy);
}

void worker_send(const int32_t *message) { send_message(message, false); }

void worker_request(int type, const struct session *s, int32_t context, int32_t flags) {
  int32_t m[CONTROL_ELEMENT_WORDS] = {0};
  m[MESSAGE_TYPE] = type;
  m[MESSAGE_CONTEXT] = context;
  m[MESSAGE_SESSION] = s->stack_index;
  m[MESSAGE_GENERATION] = s->stack_generation;
  m[MESSAGE_FLAGS] = flags;
  send_message(m, false);
}

static void send_attribute(const struct session *s, int attribute) {
  int32_t m[CONTROL_ELEMENT_WORDS] = {0};
  m[MESSAGE_TYPE] = REQUEST_ATTRIBUTE;
  m[MESSAGE_SESSION] = s->stack_index;
  m[MESSAGE_GENERATION] = s->stack_generation;
  m[MESSAGE_ATTRIBUTE] = attribute;
  m[MESSAGE_VALUE] = s->attributes[attribute];
  send_message(m, false);
}

/* A peer on the stack itself has its own bell; there is no transport then. */
bool session_has_transport(const struct session *s) { return s->end != NULL && s->end->bell_fd < 0; }

static void send_attributes(const struct session *s) {
  for (int i = 0; i <= MAX_ATTRIBUTE && session_has_transport(s); i++)
    if ((s->attributes_set & 1u << i) != 0) send_attribute(s, i);
}

void session_attribute(struct session *s, int attribute, int32_t value) {
  s->attributes[attribute] = value;
  s->attributes_set |= 1u << attribute;
  if (session_has_transport(s)) send_attribute(s, attribute);
}

static void write_endpoint(int32_t *words, const struct endpoint *e) { memcpy(words, e->words, sizeof e->words); }

static int32_t proto_of(const struct session *s) { return (s->datagram ? PROTO_UDP : PROTO_TCP) << MESSAGE_PROTO_SHIFT; }

static void set_name(struct session *s, const int32_t *m) {
  s->stack_index = m[MESSAGE_SESSION];
  s->stack_generation = m[MESSAGE_GENERATION];
  session_add_name(s);
}

void session_add_name(struct session *s) {
  struct session **bucket = &by_name[(uint32_t)s->stack_index % BUCKETS];
  s->name_next = *bucket;
  *bucket = s;
}

static void drop_name(struct session *s) {
  if (s->stack_index < 0) return;
  for (struct session **at = &by_name[(uint32_t)s->stack_index % BUCKETS]; *at != NULL; at = &(*at)->name_next) {
    if (*at != s) continue;
    *at = s->name_next;
    break;
  }
  s->stack_index = -1;
}

static void drop_context(struct session *s) {
  if (s->context == 0) return;
  for (struct session **at = &by_context[s->context % BUCKETS]; *at != NULL; at = &(*at)->context_next) {
    if (*at != s) continue;
    *at = s->context_next;
    break;
  }
  s->context = 0;
}

static void expect_answer(struct session *s) {
  drop_context(s);
  s->context = next_context;
  next_context = next_context == 0x7fffffff ? 1 : next_context + 1;
  s->context_next = by_context[s->context % BUCKETS];
  by_context[s->context % BUCKETS] = s;
}

static struct session *find_context(int32_t context, enum session_state state) {
  if (context <= 0) return NULL;
  for (struct session *s = by_context[context % BUCKETS]; s != NULL; s = s->context_next)
    if (s->context == context && s->state == state) return s;
  return NULL;
}

struct session *session_create(int family, bool datagram) {
  struct session *s = calloc(1, sizeof *s);
  if (s == NULL) return NULL;
  s->fds = 1;
  s->family = family;
  s->datagram = datagram;
  s->local.is_v4 = s->remote.is_v4 = family == AF_INET;
  s->stack_index = -1;
  s->next = worker_sessions;
  if (worker_sessions != NULL) worker_sessions->previous = s;
  return worker_sessions = s;
}

void session_forget(struct session *s) {
  drop_name(s);
  drop_context(s);
  if (s->previous != NULL) s->previous->next = s->next;
  else worker_sessions = s->next;
  if (s->next != NULL) s->next->previous = s->previous;
  free(s);
}

/* A listener is passive until its process uses it: of a parent and its children, those that accept get the connections. */
static void send_listen(struct session *s) {
  int32_t m[CONTROL_ELEMENT_WORDS] = {0};
  m[MESSAGE_TYPE] = REQUEST_LISTEN;
  m[MESSAGE_CONTEXT] = s->context;
  m[MESSAGE_BACKLOG] = s->backlog;
  m[MESSAGE_FLAGS] = (s->local.is_v4 ? MESSAGE_FLAG_V4 : 0) | (s->v6only ? MESSAGE_FLAG_V6ONLY : 0) | proto_of(s) |
                     (s->datagram ? MESSAGE_FLAG_CONNECTIONLESS : s->used ? 0 : MESSAGE_FLAG_PASSIVE);
  write_endpoint(m + MESSAGE_LOCAL, &s->local);
  m[MESSAGE_PORTS] = (int32_t)((uint32_t)s->local.port << 16);
  send_message(m, false);
}

int session_listen(struct session *s, int backlog) {
  s->backlog = backlog;
  if (s->state == SESSION_LISTENING) return 0;
  if (s->state > SESSION_BOUND) return EINVAL;
  s->state = SESSION_CONNECTING;
  s->dialing = false;
  some_passive = true;
  expect_answer(s);
  send_listen(s);
  return 0;
}

/*
 * Who connects to a listener of its own process may wait for the answer before it looks for connections: a passive listener is taken up
 * then. At once when no other process can have it; else when it is clear that none of them does.
 */
static void take_up_listeners(uint16_t port, bool now) {
  if (!some_passive) return;
  some_passive = false;
  for (struct session *s = worker_sessions; s != NULL; s = s->next) {
    if (s->state != SESSION_LISTENING || s->used || s->datagram) continue;
    bool alone = !has_forked && (fcntl(s->fd, F_GETFD) & FD_CLOEXEC) != 0;
    if (s->local.port == port && (now || alone)) session_take_up(s);
    else some_passive = true;
    if (s->local.port != port || now || alone) continue;
    take_up_ms = ldp_now_ms() + TAKE_UP_MS;
    take_up_port = port;
  }
}

/* A handler of a signal that came in the middle of something forks alone: its child starts without connections. */
void worker_before_fork(void) {
  if (locked) return;
  vcl_lock();
  locks_fork = true;
  share_before_fork();
}

void worker_forked(void) {
  share_forked();
  has_forked = true;
  if (locks_fork) vcl_unlock();
  locks_fork = false;
}

int session_connect(struct session *s) {
  int32_t m[CONTROL_ELEMENT_WORDS] = {0};
  if (s->state > SESSION_BOUND) return s->state == SESSION_CONNECTING ? EALREADY : EISCONN;
  take_up_listeners(s->remote.port, false);
  s->state = SESSION_CONNECTING;
  s->dialing = true;
  s->error = 0;
  s->read_closed = s->peer_closed = false;
  expect_answer(s);
  m[MESSAGE_TYPE] = REQUEST_CONNECT;
  m[MESSAGE_CONTEXT] = s->context;
  m[MESSAGE_FLAGS] = (s->remote.is_v4 ? MESSAGE_FLAG_V4 : 0) | proto_of(s);
  write_endpoint(m + MESSAGE_LOCAL, &s->local);
  write_endpoint(m + MESSAGE_REMOTE, &s->remote);
  m[MESSAGE_PORTS] = (int32_t)((uint32_t)s->local.port << 16 | s->remote.port);
  send_message(m, false);
  return 0;
}

void session_take_up(struct session *s) {
  if (s->inherited) {
    /* One that has been used comes back with the stack. */
    if (s->used) return;
    s->used = true;
    if (vcl_ready() != 0) {
      lost_listeners++;
      return;
    }
    s->inherited = s->held = false;
    s->stack_index = -1;
    session_listen(s, s->backlog);
  } else if (s->state == SESSION_LISTENING && !s->used && !s->datagram) {
    s->used = true;
    send_listen(s);
  }
}

struct session *session_accept(struct session *listener) {
  struct session *s = listener->accept_head;
  if (s == NULL) return NULL;
  listener->accept_head = s->accept_next;
  if (listener->accept_head == NULL) listener->accept_tail = NULL;
  s->accept_next = NULL;
  request(REQUEST_ACCEPTED, s, 0, !listener->ring_on_accept);
  listener->ring_on_accept = false;
  return s;
}

static void drop_waiting(struct session *s) {
  for (struct session *waiting = s->accept_head, *next; waiting != NULL; waiting = next) {
    next = waiting->accept_next;
    if (waiting->end != NULL) request(REQUEST_CLOSE, waiting, MESSAGE_FLAG_RESET, false);
    waiting->state = SESSION_CLOSED;
  }
  s->accept_head = s->accept_tail = NULL;
}

void session_unlisten(struct session *s) {
  if (s->state != SESSION_LISTENING) return;
  drop_waiting(s);
  request(REQUEST_UNLISTEN, s, 0, false);
  drop_name(s);
  drop_context(s);
  s->state = SESSION_BOUND;
  session_raise(s, true, true);
}

void session_close(struct session *s) {
  enum session_state state = s->state;
  ldp_epoll_forget(s);
  if (s->datagram && s->owner == NULL) datagram_close(s);
  if (s->inherited && s->used && lost_listeners > 0) lost_listeners--;
  if (s->held && s->inherited) share_close_listener(s);
  s->state = SESSION_CLOSED;
  s->fds = 0;
  if (state == SESSION_LISTENING) {
    drop_waiting(s);
    request(REQUEST_UNLISTEN, s, 0, false);
    session_forget(s);
  } else if (s->shared && state == SESSION_READY && s->stack_index >= 0 && !gone) share_close(s);
  else if (s->end != NULL) {
    bool reset = s->reset_on_close || (!s->datagram && fifo_used(&s->rx) > 0);
    request(REQUEST_CLOSE, s, reset ? MESSAGE_FLAG_RESET : 0, false);
    /* The stack says when both sides are done with the slot. */
    if (gone) {
      leave_slot(s);
      session_forget(s);
    }
  } else if (state == SESSION_CONNECTING && s->dialing && !gone) {
    /* Nothing follows; an answer that is on its way already is refused. */
    int32_t m[CONTROL_ELEMENT_WORDS] = {0};
    m[MESSAGE_TYPE] = REQUEST_CANCEL;
    m[MESSAGE_CONTEXT] = s->context;
    send_message(m, false);
    session_forget(s);
  } else if (state != SESSION_CONNECTING || gone) session_forget(s);
  else if (s->remote.port != 0) {
    /* An answer that is on its way already is refused. */
    int32_t m[CONTROL_ELEMENT_WORDS] = {0};
    m[MESSAGE_TYPE] = REQUEST_CANCEL;
    m[MESSAGE_CONTEXT] = s->context;
    send_message(m, false);
    session_forget(s);
  }
}

int session_shutdown_write(struct session *s) {
  if (s->state != SESSION_READY) return ENOTCONN;
  if (s->write_shut) return 0;
  s->write_shut = true;
  session_raise(s, false, true);
  if (!s->peer_closed) request(REQUEST_HALF_CLOSE, s, 0, false);
  return 0;
}

/* There is room, but no memory: nobody tells when there is, so it is tried again. */
void session_starve(struct session *s) { s->starved = some_starved = true; }

/* --- slots --- */

bool session_enter_events(struct session *s, struct segment_end *end, uint32_t slot) {
  if (end == NULL || end->borrowed || slot >= end->segment.slots || end->sessions[slot] != NULL) return false;
  s->end = end;
  s->slot = slot;
  end->sessions[slot] = s;
  if (end != s->memory) end->in_use++;
  return true;
}

void session_leave_events(struct session *s) {
  struct segment_end *end = s->end;
  if (end == NULL) return;
  if (end->sessions[s->slot] == s) end->sessions[s->slot] = NULL;
  s->end = NULL;
  if (end == s->memory) return;
  end->in_use--;
  end_release(end);
}

static bool join(struct session *s, const int32_t *m, struct segment_end *end) {
  uint32_t slot = m[MESSAGE_SLOT];
  if (!session_enter_events(s, end, slot)) return false;
  s->memory = end;
  s->memory_slot = slot;
  s->home = s->owned = true;
  drop_context(s);
  set_name(s, m);
  s->local.is_v4 = s->remote.is_v4 = (m[MESSAGE_FLAGS] & MESSAGE_FLAG_V4) != 0;
  memcpy(s->local.words, m + MESSAGE_LOCAL, sizeof s->local.words);
  memcpy(s->remote.words, m + MESSAGE_REMOTE, sizeof s->remote.words);
  s->local.port = (uint32_t)m[MESSAGE_PORTS] >> 16;
  s->remote.port = m[MESSAGE_PORTS] & 0xffff;
  fifo_consumer_init(&s->rx, &end->segment, segment_fifo(&end->segment, slot, 1 - end->side), 1 - end->side);
  fifo_producer_init(&s->tx, &end->arena, segment_fifo(&end->segment, slot, end->side));
  s->state = SESSION_READY;
  fifo_clear_event(&s->rx);
  send_attributes(s);
  session_raise(s, true, true);
  return true;
}

static void leave_slot(struct session *s) {
  struct segment_end *memory = s->memory;
  if (memory == NULL) return;
  drop_name(s);
  session_leave_events(s);
  /* What another process has written last is known from the segment only. */
  if (s->shared && s->home && !gone) fifo_producer_resume(&s->tx);
  if (s->home && !gone) fifo_producer_release(&s->tx);
  else fifo_producer_forget(&s->tx);
  s->memory = NULL;
  memory->in_use--;
  end_release(memory);
}

/* The session is over, and whoever used it last has left what was written in memory of this process. */
static void give_slot_back(const struct session *s) {
  int32_t m[CONTROL_ELEMENT_WORDS] = {0};
  m[MESSAGE_TYPE] = REQUEST_SLOT_DONE;
  m[MESSAGE_SEGMENT_ID] = s->memory->id;
  m[MESSAGE_SLOT] = s->memory_slot;
  send_message(m, true);
}

/* --- notices --- */

static void refuse(const int32_t *m) {
  int32_t answer[CONTROL_ELEMENT_WORDS] = {0};
  answer[MESSAGE_TYPE] = REQUEST_CLOSE;
  answer[MESSAGE_SESSION] = m[MESSAGE_SESSION];
  answer[MESSAGE_GENERATION] = m[MESSAGE_GENERATION];
  answer[MESSAGE_FLAGS] = MESSAGE_FLAG_RESET;
  send_message(answer, false);
  /* It still occupies its slot until the stack has cleaned it up. */
  struct segment_end *end = worker_find_end(m);
  struct session *orphan = end == NULL ? NULL : session_create(AF_INET, false);
  if (orphan == NULL) return;
  orphan->fds = 0;
  if (join(orphan, m, end)) orphan->state = SESSION_CLOSED;
  else session_forget(orphan);
}

static int session_errno(const int32_t *m) {
  static const int table[] = SESSION_ERRNO_TABLE;
  uint32_t code = (uint32_t)m[MESSAGE_FLAGS] >> MESSAGE_RETVAL_SHIFT & 0xff;
  return code < sizeof table / sizeof *table ? table[code] : EPROTO;
}

static void on_connected(const int32_t *m) {
  int error = session_errno(m);
  struct session *s = find_context(m[MESSAGE_CONTEXT], SESSION_CONNECTING);
  if (error != 0) {
    if (s == NULL) {
      /* Closed meanwhile: this was all that it waited for. */
      s = find_context(m[MESSAGE_CONTEXT], SESSION_CLOSED);
      if (s != NULL && s->end == NULL) session_forget(s);
      return;
    }
    s->state = SESSION_BOUND;
    drop_context(s);
    if (s->or_kernel && ldp_to_kernel(s, error)) return;
    session_fail(s, error);
    return;
  }
  struct segment_end *end = worker_find_end(m);
  if (s == NULL) {
    s = find_context(m[MESSAGE_CONTEXT], SESSION_CLOSED);
    if (s != NULL && s->end == NULL) session_forget(s);
    refuse(m);
  } else if (end == NULL || !join(s, m, end)) {
    s->state = SESSION_BOUND;
    session_fail(s, ENOBUFS);
    refuse(m);
  }
}

static void on_accepted(const int32_t *m) {
  struct session *listener = find_context(m[MESSAGE_CONTEXT], SESSION_LISTENING);
  struct segment_end *end = worker_find_end(m);
  struct session *s = listener == NULL || end == NULL ? NULL : session_create(listener->family, listener->datagram);
  if (s != NULL) {
    memcpy(s->attributes, listener->attributes, sizeof s->attributes);
    s->attributes_set = listener->attributes_set;
    s->reset_on_close = listener->reset_on_close;
    s->fds = 0;
  }
  if (s == NULL || !join(s, m, end)) {
    if (s != NULL) session_forget(s);
    refuse(m);
    return;
  }
  if (listener->datagram) {
    request(REQUEST_ACCEPTED, s, 0, !listener->ring_on_accept);
    listener->ring_on_accept = false;
    datagram_accepted(listener, s);
    return;
  }
  if (listener->accept_tail != NULL) listener->accept_tail->accept_next = s;
  else listener->accept_head = s;
  listener->accept_tail = s;
  session_raise(listener, true, false);
}

static void on_bound(const int32_t *m) {
  int error = session_errno(m);
  struct session *s = find_context(m[MESSAGE_CONTEXT], SESSION_CONNECTING);
  if (s == NULL) {
    /* Closed while the request was on its way; or it was only told that it is not passive any more. */
    s = find_context(m[MESSAGE_CONTEXT], SESSION_CLOSED);
    if (s == NULL || s->end != NULL) return;
    if (error == 0) {
      set_name(s, m);
      request(REQUEST_UNLISTEN, s, 0, false);
    }
    session_forget(s);
    return;
  }
  if (error != 0) {
    s->state = SESSION_BOUND;
    drop_context(s);
    if (s->used && s->fds > 0 && !s->datagram) {
      /* It listened before the stack was started again: the address may be another's for a moment. */
      s->inherited = true;
      lost_listeners++;
      return;
    }
    s->error = error;
    session_raise(s, true, true);
    return;
  }
  set_name(s, m);
  memcpy(s->local.words, m + MESSAGE_LOCAL, sizeof s->local.words);
  s->local.port = (uint32_t)m[MESSAGE_PORTS] >> 16;
  s->state = SESSION_LISTENING;
  s->error = 0;
  s->read_closed = s->peer_closed = false;
  session_raise(s, false, false);
}

static void on_session(struct session *s, const int32_t *m) {
  switch (m[MESSAGE_TYPE]) {
    case NOTICE_HALF_CLOSED:
      s->read_closed = true;
      session_raise(s, true, false);
      break;
    case NOTICE_DISCONNECTED:
      s->read_closed = s->peer_closed = true;
      session_raise(s, true, true);
      break;
    case NOTICE_RESET:
      session_fail(s, session_errno(m) == 0 ? ECONNRESET : session_errno(m));
      break;
    case NOTICE_BACKLOG_FULL: {
      uint64_t one = 1;
      s->ring_on_accept = true;
      if (write(attachment.stack_fd, &one, sizeof one) < 0) break;
      break;
    }
    case NOTICE_CLEANUP: {
      struct session over = *s;
      leave_slot(s);
      if (over.shared && over.home && over.memory != NULL) give_slot_back(&over);
      if (s->state == SESSION_CLOSED) session_forget(s);
      else if (s->owner != NULL) {
        datagram_unlink(s);
        session_forget(s);
      }
      break;
    }
    default:
      share_notice(s, m);
  }
}

static void handle(const int32_t *m) {
  switch (m[MESSAGE_TYPE]) {
    case NOTICE_CONNECTED:
      on_connected(m);
      return;
    case NOTICE_ACCEPTED:
      on_accepted(m);
      return;
    case NOTICE_BOUND:
      on_bound(m);
      return;
    case NOTICE_DELETE_SEGMENT: {
      struct segment_end *end = worker_find_end(m);
      if (end == NULL) return;
      end->deleted = true;
      end_release(end);
      return;
    }
  }
  for (struct session *s = by_name[(uint32_t)m[MESSAGE_SESSION] % BUCKETS]; s != NULL; s = s->name_next) {
    if (s->stack_index != m[MESSAGE_SESSION] || s->stack_generation != m[MESSAGE_GENERATION]) continue;
    on_session(s, m);
    return;
  }
}

/* Every session is over. Listeners come back with the stack; for the rest the next call attaches again. */
void worker_stack_gone(void) {
  if (gone) return;
  gone = true;
  for (struct session *s = worker_sessions, *next; s != NULL; s = next) {
    next = s->next;
    leave_slot(s);
    drop_name(s);
    drop_context(s);
    if (s->state == SESSION_CLOSED) session_forget(s);
    else if (s->state == SESSION_LISTENING && !s->datagram) {
      s->accept_head = s->accept_tail = NULL;
      s->state = SESSION_BOUND;
      s->inherited = true;
      if (s->used) lost_listeners++;
    } else if (s->datagram && s->fds > 0) {
      if (s->state > SESSION_BOUND) s->state = SESSION_BOUND;
      s->error = ENETDOWN;
      session_raise(s, true, true);
    } else if (s->state != SESSION_CREATED && s->state != SESSION_BOUND) {
      if (s->state == SESSION_CONNECTING || s->state == SESSION_LISTENING) s->state = SESSION_BOUND;
      session_fail(s, ENETDOWN);
    }
  }
  for (struct session *s = worker_sessions, *next; s != NULL; s = next) {
    next = s->next;
    s->peers = s->readable_head = s->readable_tail = s->network = NULL;
    /* Nobody has accepted it, or it was the peer of a datagram socket. */
    if (s->fds == 0) session_forget(s);
  }
  try_again_ms = ldp_now_ms() + REATTACH_MS;
}

static void listen_again(void) {
  if (ldp_now_ms() < try_again_ms) return;
  try_again_ms = ldp_now_ms() + REATTACH_MS;
  if (vcl_ready() != 0) return;
  lost_listeners = 0;
  for (struct session *s = worker_sessions; s != NULL; s = s->next) {
    if (!s->inherited || !s->used) continue;
    s->inherited = false;
    session_listen(s, s->backlog);
  }
}

static void feed_starved(void) {
  some_starved = false;
  for (struct session *s = worker_sessions; s != NULL; s = s->next) {
    if (!s->starved) continue;
    s->starved = false;
    session_raise(s, false, true);
  }
}

int worker_drain(void) {
  int32_t m[CONTROL_ELEMENT_WORDS];
  int n = 0;
  if (lost_listeners > 0) listen_again();
  if (take_up_ms != 0 && ldp_now_ms() >= take_up_ms) {
    take_up_ms = 0;
    for (struct session *s = worker_sessions; s != NULL; s = s->next) {
      if (s->state != SESSION_CONNECTING || s->remote.port != take_up_port) continue;
      take_up_listeners(take_up_port, true);
      break;
    }
  }
  if (!attached || gone) return 0;
  while (queue_take_control(&from_stack, m)) {
    handle(m);
    n++;
  }
  if (n > 0 && queue_take_want_room(&from_stack)) {
    uint64_t one = 1;
    if (write(attachment.stack_fd, &one, sizeof one) < 0) return n;
  }
  for (struct segment_end *end = worker_ends; end != NULL; end = end->next) {
    if (end->borrowed) continue;
    for (int32_t event; (event = queue_take_io(&end->from_peer)) >= 0; n++) {
      uint32_t slot = (uint32_t)event >> 2;
      struct session *s = slot < end->segment.slots ? end->sessions[slot] : NULL;
      if (s == NULL || s->state == SESSION_CLOSED) continue;
      if ((event & 3) == IO_EVENT_DATA) {
        fifo_clear_event(&s->rx);
        session_raise(s, true, false);
      } else session_raise(s, false, true);
    }
    if (!end->from_peer.io.corrupted || end->deleted) continue;
    /* The stack may have taken the memory back in this moment: it has said so before, and where the sessions go on. */
    if (queue_take_control(&from_stack, m)) {
      do {
        handle(m);
        n++;
      } while (queue_take_control(&from_stack, m));
      return n;
    }
    for (uint32_t i = 0; i < end->segment.slots; i++)
      if (end->sessions[i] != NULL && end->sessions[i]->error == 0) session_fail(end->sessions[i], ECONNRESET);
  }
  return n;
}

bool worker_arm(void) {
  if (!attached || gone) return true;
  bool empty = queue_arm(&from_stack);
  for (struct segment_end *end = worker_ends; end != NULL; end = end->next)
    if (!end->borrowed) empty = queue_arm(&end->from_peer) && empty;
  return empty;
}

int worker_bells(void) { return attached && !gone ? bells : -1; }

int worker_patience(void) {
  return some_starved ? STARVED_WAIT_MS : lost_listeners > 0 ? REATTACH_MS : take_up_ms != 0 ? TAKE_UP_MS : -1;
}

void worker_empty_bells(void) {
  char sink[4096];
  struct epoll_event events[32];
  if (some_starved) feed_starved();
  if (!attached || gone) return;
  int n = kernel_epoll_wait(bells, events, 32, 0);
  for (int i = 0; i < n; i++) {
    struct segment_end *end = events[i].data.ptr;
    ssize_t got = read(end == NULL ? attachment.bell_fd : end->bell_fd, sink, sizeof sink);
    if (end == NULL && got == 0) worker_stack_gone();
    /* A peer has gone; the stack says so too. */
    else if (end != NULL && got == 0) kernel_epoll_ctl(bells, EPOLL_CTL_DEL, end->bell_fd, NULL);
  }
  rung = true;
  /* What it was rung for is handled now: another thread may wait for it. */
  worker_drain();
}

/* Lets go of everything that belongs to an attachment. No session may be in a slot. */
static void leave_stack(void) {
  attached = false;
  kernel_close(attachment.socket);
  kernel_close(attachment.stack_fd);
  kernel_close(attachment.bell_fd);
  segment_detach(&attachment.segment);
  while (worker_ends != NULL) {
    struct segment_end *end = worker_ends;
    worker_ends = end->next;
    end_free(end);
  }
  kernel_close(bells);
  bells = -1;
}

void worker_close_all(void) {
  for (struct session *s = worker_sessions, *next; s != NULL && attached && !gone; s = next) {
    next = s->next;
    if (s->shared && s->state == SESSION_READY && s->stack_index >= 0) share_close(s);
    else if (s->end != NULL && s->state != SESSION_CLOSED) {
      bool reset = s->reset_on_close || (!s->datagram && fifo_used(&s->rx) > 0);
      request(REQUEST_CLOSE, s, reset ? MESSAGE_FLAG_RESET : 0, false);
    }
  }
}

/* A child of fork becomes a worker of its own; what the parent has is the parent's. Listeners are taken up when they are used,
 * so that a child which only runs another program does not get connections. */
void worker_after_fork(void) {
  pthread_mutex_init(&mutex, NULL);
  locked = locks_fork = false;
  raised = some_starved = false;
  lost_listeners = 0;
  ldp_nobody_sleeps();
  ldp_forked();
  has_forked = true;
  share_born();
  if (!attached) return;
  memset(by_name, 0, sizeof by_name);
  memset(by_context, 0, sizeof by_context);
  for (struct session *s = worker_sessions, *next; s != NULL; s = next) {
    next = s->next;
    s->context = 0;
    share_session_after_fork(s);
    s->accept_head = s->accept_tail = NULL;
    s->peers = s->readable_head = s->readable_tail = s->network = NULL;
    s->owner = NULL;
    if (s->fds == 0 || s->state == SESSION_CLOSED) session_forget(s);
    else if (s->state == SESSION_LISTENING || s->inherited) {
      s->state = SESSION_BOUND;
      s->inherited = !s->datagram;
      s->used = false;
      if (s->datagram) s->error = ENOTCONN;
    } else if (s->state >= SESSION_CONNECTING && s->stack_index < 0) {
      s->state = SESSION_BOUND;
      session_fail(s, ENOTCONN);
    }
  }
  leave_stack();
  if (!share_is_heir()) prepared = connect_stack();
}
