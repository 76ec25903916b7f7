/* The process's worker: its sessions, the segments it shares, requests to the stack and the stack's notices (src/stack/vcl/worker.ts). */
#define _GNU_SOURCE
#include "vcl.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

unsigned worker_bells_version;

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct attachment attachment;
static bool attached, gone, was_attached;
/* Connected right after the fork: a worker that drops its privileges cannot do it later. */
static int prepared = -1;
static struct queue_producer to_stack;
static struct queue_consumer from_stack;
static struct segment_end *ends;
/* All that the stack or the application knows of. */
static struct session *sessions;
static int32_t next_context = 1;

void vcl_lock(void) { pthread_mutex_lock(&mutex); }

void vcl_unlock(void) { pthread_mutex_unlock(&mutex); }

static void leave_stack(void);

int vcl_ready(void) {
  static bool told;
  if (attached && !gone) return 0;
  if (attached) {
    /* Another stack may be there by now. */
    leave_stack();
    was_attached = false;
  }
  const char *error = attach(&attachment, was_attached, prepared);
  prepared = -1;
  if (error != NULL) {
    if (!told) fprintf(stderr, "sluice: %s\n", error);
    told = true;
    return ENETDOWN;
  }
  attached = was_attached = true;
  gone = false;
  queue_producer_init(&to_stack, &attachment.segment, 1, attachment.stack_fd);
  queue_consumer_init(&from_stack, &attachment.segment, 0);
  worker_bells_version++;
  return 0;
}

/* --- requests --- */

static void raise_events(struct session *s, bool in, bool out) {
  s->in_events += in;
  s->out_events += out;
}

static void fail(struct session *s, int error) {
  if (s->error == 0) s->error = error;
  s->read_closed = s->peer_closed = true;
  raise_events(s, true, true);
}

/* Sends in order; waits for the stack to make room when the queue is full. */
static void send_message(const int32_t *message, bool lazy) {
  while (!gone && !queue_send_control(&to_stack, message, lazy)) {
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

static void write_endpoint(int32_t *words, const struct endpoint *e) { memcpy(words, e->words, sizeof e->words); }

static void expect_answer(struct session *s) {
  s->context = next_context;
  next_context = (next_context + 1) & 0x7fffffff;
}

struct session *session_create(int fd, int family) {
  struct session *s = calloc(1, sizeof *s);
  if (s == NULL) return NULL;
  s->fd = fd;
  s->family = family;
  s->local.is_v4 = s->remote.is_v4 = family == AF_INET;
  s->stack_index = -1;
  s->next = sessions;
  if (sessions != NULL) sessions->previous = s;
  return sessions = s;
}

static void forget(struct session *s) {
  if (s->previous != NULL) s->previous->next = s->next;
  else sessions = s->next;
  if (s->next != NULL) s->next->previous = s->previous;
  free(s);
}

/* A listener is passive until its process uses it: of a parent and its children, those that accept get the connections. */
static void send_listen(struct session *s) {
  int32_t m[CONTROL_ELEMENT_WORDS] = {0};
  m[MESSAGE_TYPE] = REQUEST_LISTEN;
  m[MESSAGE_CONTEXT] = s->context;
  m[MESSAGE_BACKLOG] = s->backlog;
  m[MESSAGE_FLAGS] = (s->local.is_v4 ? MESSAGE_FLAG_V4 : 0) | (s->v6only ? MESSAGE_FLAG_V6ONLY : 0) |
                     (s->used ? 0 : MESSAGE_FLAG_PASSIVE);
  write_endpoint(m + MESSAGE_LOCAL, &s->local);
  m[MESSAGE_PORTS] = (int32_t)((uint32_t)s->local.port << 16);
  send_message(m, false);
}

int session_listen(struct session *s, int backlog) {
  if (s->state == SESSION_LISTENING) return 0;
  if (s->state > SESSION_BOUND) return EINVAL;
  s->state = SESSION_CONNECTING;
  s->backlog = backlog;
  expect_answer(s);
  send_listen(s);
  return 0;
}

int session_connect(struct session *s) {
  int32_t m[CONTROL_ELEMENT_WORDS] = {0};
  if (s->state > SESSION_BOUND) return s->state == SESSION_CONNECTING ? EALREADY : EISCONN;
  s->state = SESSION_CONNECTING;
  s->error = 0;
  s->read_closed = s->peer_closed = false;
  expect_answer(s);
  m[MESSAGE_TYPE] = REQUEST_CONNECT;
  m[MESSAGE_CONTEXT] = s->context;
  m[MESSAGE_FLAGS] = s->remote.is_v4 ? MESSAGE_FLAG_V4 : 0;
  write_endpoint(m + MESSAGE_LOCAL, &s->local);
  write_endpoint(m + MESSAGE_REMOTE, &s->remote);
  m[MESSAGE_PORTS] = (int32_t)((uint32_t)s->local.port << 16 | s->remote.port);
  send_message(m, false);
  return 0;
}

void session_take_up(struct session *s) {
  if (!s->inherited && (s->state != SESSION_LISTENING || s->used)) return;
  s->used = true;
  if (!s->inherited) {
    send_listen(s);
    return;
  }
  s->inherited = false;
  s->error = vcl_ready();
  if (s->error == 0) session_listen(s, s->backlog);
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

void session_close(struct session *s) {
  enum session_state state = s->state;
  s->state = SESSION_CLOSED;
  s->fd = -1;
  if (state == SESSION_LISTENING) {
    for (struct session *waiting = s->accept_head, *next; waiting != NULL; waiting = next) {
      next = waiting->accept_next;
      if (waiting->end != NULL) request(REQUEST_CLOSE, waiting, MESSAGE_FLAG_RESET, false);
      waiting->state = SESSION_CLOSED;
    }
    request(REQUEST_UNLISTEN, s, 0, false);
    forget(s);
  } else if (s->end != NULL) {
    request(REQUEST_CLOSE, s, fifo_used(&s->rx) > 0 ? MESSAGE_FLAG_RESET : 0, false);
    /* The stack says when both sides are done with the slot. */
    if (gone) forget(s);
  } else if (state != SESSION_CONNECTING || gone) forget(s);
}

int session_shutdown_write(struct session *s) {
  if (s->state != SESSION_READY) return ENOTCONN;
  if (s->write_shut) return 0;
  s->write_shut = true;
  if (!s->peer_closed) request(REQUEST_HALF_CLOSE, s, 0, false);
  return 0;
}

/* --- bytes --- */

ssize_t session_read(struct session *s, void *data, size_t length, bool peek) {
  if (s->end == NULL) return s->error != 0 ? -s->error : s->state == SESSION_CONNECTING ? -EAGAIN : s->read_closed ? 0 : -ENOTCONN;
  size_t n = fifo_read(&s->rx, data, length, peek);
  if (n > 0) {
    if (!peek && fifo_should_notify(&s->rx)) queue_send_io(&s->end->to_peer, s->slot << 2 | IO_EVENT_ROOM);
    return n;
  }
  if (length == 0) return 0;
  if (s->rx.corrupted) fail(s, ECONNRESET);
  if (s->error != 0) return -s->error;
  return s->read_closed ? 0 : -EAGAIN;
}

ssize_t session_write(struct session *s, const void *data, size_t length) {
  if (s->state == SESSION_CONNECTING) return -EAGAIN;
  if (s->error != 0) return -s->error;
  if (s->write_shut || s->peer_closed) return -EPIPE;
  if (s->end == NULL) return -ENOTCONN;
  size_t n = fifo_write(&s->tx, data, length);
  if (n < length && fifo_want_room(&s->tx, 1)) n += fifo_write(&s->tx, (const char *)data + n, length - n);
  if (n > 0 && fifo_raise_event(&s->tx)) queue_send_io(&s->end->to_peer, s->slot << 2 | IO_EVENT_DATA);
  if (n > 0 || length == 0) return n;
  if (!s->tx.corrupted) return -EAGAIN;
  fail(s, ECONNRESET);
  return -ECONNRESET;
}

short session_readiness(struct session *s) {
  short mask = 0;
  if (s->state == SESSION_LISTENING) return s->accept_head != NULL ? POLLIN : 0;
  if (s->state == SESSION_CONNECTING) return 0;
  if (s->state < SESSION_CONNECTING && s->error == 0) return s->inherited ? 0 : POLLOUT | POLLHUP;
  if (s->error != 0) mask |= POLLERR | POLLHUP | POLLIN | POLLOUT;
  if (s->read_closed) mask |= POLLIN | POLLRDHUP;
  if (s->end != NULL && fifo_used(&s->rx) > 0) mask |= POLLIN;
  if (s->peer_closed) mask |= POLLOUT | POLLHUP;
  else if (s->end != NULL && !s->write_shut && (fifo_free(&s->tx) > 0 || fifo_want_room(&s->tx, 1))) mask |= POLLOUT;
  return mask;
}

/* --- segments --- */

static void end_free(struct segment_end *end) {
  kernel_close(end->to_peer.ring_fd);
  if (end->bell_fd >= 0) kernel_close(end->bell_fd);
  arena_free(&end->arena);
  segment_detach(&end->segment);
  free(end->sessions);
  free(end);
  worker_bells_version++;
}

static void end_release(struct segment_end *end) {
  if (!end->deleted || end->in_use > 0) return;
  for (struct segment_end **at = &ends; *at != NULL; at = &(*at)->next) {
    if (*at != end) continue;
    *at = end->next;
    break;
  }
  end_free(end);
}

static void stack_gone(void);

/* Takes the segments that have come over the socket: they were sent before the message that mentions them. */
static void fetch_segments(void) {
  int fds[3], got;
  int32_t id;
  uint32_t side;
  while ((got = receive_segment(attachment.socket, &id, &side, fds)) > 0) {
    struct segment_end *end = calloc(1, sizeof *end);
    const char *error = end == NULL ? "no memory" : segment_attach(&end->segment, fds[0]);
    if (error == NULL && end->segment.kind != SEGMENT_KIND_FIFO) error = "segment has the wrong kind";
    if (error == NULL && (end->sessions = calloc(end->segment.slots, sizeof *end->sessions)) == NULL) error = "no memory";
    kernel_close(fds[0]);
    if (error != NULL) {
      if (end != NULL) segment_detach(&end->segment);
      free(end);
      kernel_close(fds[1]);
      if (fds[2] >= 0) kernel_close(fds[2]);
      continue;
    }
    end->id = id;
    end->side = side;
    end->bell_fd = fds[2];
    arena_init(&end->arena, &end->segment, side);
    queue_producer_init(&end->to_peer, &end->segment, side, fds[1]);
    queue_consumer_init(&end->from_peer, &end->segment, 1 - side);
    end->next = ends;
    ends = end;
    worker_bells_version++;
  }
  if (got < 0) stack_gone();
}

static struct segment_end *find_end(const int32_t *m) {
  uint32_t side = (m[MESSAGE_FLAGS] & MESSAGE_FLAG_SIDE) != 0;
  for (int attempt = 0; attempt < 2; attempt++) {
    for (struct segment_end *end = ends; end != NULL; end = end->next)
      if (end->id == m[MESSAGE_SEGMENT_ID] && end->side == side) return end;
    if (attempt == 0) fetch_segments();
  }
  return NULL;
}

static bool join(struct session *s, const int32_t *m, struct segment_end *end) {
  uint32_t slot = m[MESSAGE_SLOT];
  if (slot >= end->segment.slots || end->sessions[slot] != NULL) return false;
  s->stack_index = m[MESSAGE_SESSION];
  s->stack_generation = m[MESSAGE_GENERATION];
  s->local.is_v4 = s->remote.is_v4 = (m[MESSAGE_FLAGS] & MESSAGE_FLAG_V4) != 0;
  memcpy(s->local.words, m + MESSAGE_LOCAL, sizeof s->local.words);
  memcpy(s->remote.words, m + MESSAGE_REMOTE, sizeof s->remote.words);
  s->local.port = (uint32_t)m[MESSAGE_PORTS] >> 16;
  s->remote.port = m[MESSAGE_PORTS] & 0xffff;
  s->end = end;
  s->slot = slot;
  end->sessions[slot] = s;
  end->in_use++;
  fifo_consumer_init(&s->rx, &end->segment, segment_fifo(&end->segment, slot, 1 - end->side), 1 - end->side);
  fifo_producer_init(&s->tx, &end->arena, segment_fifo(&end->segment, slot, end->side));
  s->state = SESSION_READY;
  fifo_clear_event(&s->rx);
  raise_events(s, true, true);
  return true;
}

static void leave_slot(struct session *s) {
  struct segment_end *end = s->end;
  if (end == NULL) return;
  fifo_producer_release(&s->tx);
  end->sessions[s->slot] = NULL;
  end->in_use--;
  s->end = NULL;
  end_release(end);
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
  struct segment_end *end = find_end(m);
  struct session *orphan = end == NULL ? NULL : session_create(-1, AF_INET);
  if (orphan == NULL) return;
  if (join(orphan, m, end)) orphan->state = SESSION_CLOSED;
  else forget(orphan);
}

static struct session *by_context(int32_t context, enum session_state state) {
  for (struct session *s = sessions; s != NULL; s = s->next)
    if (s->context == context && s->state == state) return s;
  return NULL;
}

static int session_errno(const int32_t *m) {
  static const int table[] = SESSION_ERRNO_TABLE;
  uint32_t code = (uint32_t)m[MESSAGE_FLAGS] >> MESSAGE_RETVAL_SHIFT & 0xff;
  return code < sizeof table / sizeof *table ? table[code] : EPROTO;
}

static void on_connected(const int32_t *m) {
  int error = session_errno(m);
  struct session *s = by_context(m[MESSAGE_CONTEXT], SESSION_CONNECTING);
  if (error != 0) {
    if (s == NULL) {
      /* Closed meanwhile: this was all that it waited for. */
      s = by_context(m[MESSAGE_CONTEXT], SESSION_CLOSED);
      if (s != NULL && s->end == NULL) forget(s);
      return;
    }
    s->state = SESSION_BOUND;
    fail(s, error);
    return;
  }
  struct segment_end *end = find_end(m);
  if (s == NULL) {
    s = by_context(m[MESSAGE_CONTEXT], SESSION_CLOSED);
    if (s != NULL && s->end == NULL) forget(s);
    refuse(m);
  } else if (end == NULL || !join(s, m, end)) {
    s->state = SESSION_BOUND;
    fail(s, ENOBUFS);
    refuse(m);
  }
}

static void on_accepted(const int32_t *m) {
  struct session *listener = by_context(m[MESSAGE_CONTEXT], SESSION_LISTENING);
  struct segment_end *end = find_end(m);
  struct session *s = listener == NULL || end == NULL ? NULL : session_create(-1, listener->family);
  if (s == NULL || !join(s, m, end)) {
    if (s != NULL) forget(s);
    refuse(m);
    return;
  }
  if (listener->accept_tail != NULL) listener->accept_tail->accept_next = s;
  else listener->accept_head = s;
  listener->accept_tail = s;
  raise_events(listener, true, false);
}

static void on_bound(const int32_t *m) {
  int error = session_errno(m);
  struct session *s = by_context(m[MESSAGE_CONTEXT], SESSION_CONNECTING);
  if (s == NULL) return;
  if (error != 0) {
    s->state = SESSION_BOUND;
    s->error = error;
    raise_events(s, true, true);
    return;
  }
  s->stack_index = m[MESSAGE_SESSION];
  s->stack_generation = m[MESSAGE_GENERATION];
  memcpy(s->local.words, m + MESSAGE_LOCAL, sizeof s->local.words);
  s->local.port = (uint32_t)m[MESSAGE_PORTS] >> 16;
  s->state = SESSION_LISTENING;
}

static void on_session(struct session *s, const int32_t *m) {
  switch (m[MESSAGE_TYPE]) {
    case NOTICE_HALF_CLOSED:
      s->read_closed = true;
      raise_events(s, true, false);
      break;
    case NOTICE_DISCONNECTED:
      s->read_closed = s->peer_closed = true;
      raise_events(s, true, true);
      break;
    case NOTICE_RESET:
      fail(s, session_errno(m) == 0 ? ECONNRESET : session_errno(m));
      break;
    case NOTICE_BACKLOG_FULL: {
      uint64_t one = 1;
      s->ring_on_accept = true;
      if (write(attachment.stack_fd, &one, sizeof one) < 0) break;
      break;
    }
    case NOTICE_CLEANUP:
      leave_slot(s);
      if (s->state == SESSION_CLOSED) forget(s);
      break;
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
      struct segment_end *end = find_end(m);
      if (end == NULL) return;
      end->deleted = true;
      end_release(end);
      return;
    }
  }
  for (struct session *s = sessions; s != NULL; s = s->next) {
    if (s->stack_index != m[MESSAGE_SESSION] || s->stack_generation != m[MESSAGE_GENERATION]) continue;
    on_session(s, m);
    return;
  }
}

/* Every session is over; the next call attaches again. */
static void stack_gone(void) {
  if (gone) return;
  gone = true;
  for (struct session *s = sessions, *next; s != NULL; s = next) {
    next = s->next;
    leave_slot(s);
    if (s->state == SESSION_CLOSED) forget(s);
    else {
      if (s->state == SESSION_CONNECTING || s->state == SESSION_LISTENING) s->state = SESSION_BOUND;
      fail(s, ENETDOWN);
    }
  }
}

int worker_drain(void) {
  int32_t m[CONTROL_ELEMENT_WORDS];
  int n = 0;
  if (!attached || gone) return 0;
  while (queue_take_control(&from_stack, m)) {
    handle(m);
    n++;
  }
  if (n > 0 && queue_take_want_room(&from_stack)) {
    uint64_t one = 1;
    if (write(attachment.stack_fd, &one, sizeof one) < 0) return n;
  }
  for (struct segment_end *end = ends; end != NULL; end = end->next) {
    for (int32_t event; (event = queue_take_io(&end->from_peer)) >= 0; n++) {
      uint32_t slot = (uint32_t)event >> 2;
      struct session *s = slot < end->segment.slots ? end->sessions[slot] : NULL;
      if (s == NULL || s->state == SESSION_CLOSED) continue;
      if ((event & 3) == IO_EVENT_DATA) {
        fifo_clear_event(&s->rx);
        raise_events(s, true, false);
      } else raise_events(s, false, true);
    }
    if (!end->from_peer.io.corrupted) continue;
    for (uint32_t i = 0; i < end->segment.slots; i++)
      if (end->sessions[i] != NULL && end->sessions[i]->error == 0) fail(end->sessions[i], ECONNRESET);
  }
  return n;
}

bool worker_arm(void) {
  if (!attached || gone) return true;
  bool empty = queue_arm(&from_stack);
  for (struct segment_end *end = ends; end != NULL; end = end->next) empty = queue_arm(&end->from_peer) && empty;
  return empty;
}

int worker_bells(int *fds, int most) {
  int n = 0;
  if (!attached || gone) return 0;
  fds[n++] = attachment.bell_fd;
  for (struct segment_end *end = ends; end != NULL && n < most; end = end->next)
    if (end->bell_fd >= 0) fds[n++] = end->bell_fd;
  return n;
}

void worker_empty_bells(void) {
  char sink[4096];
  int fds[MAX_BELLS];
  int n = worker_bells(fds, MAX_BELLS);
  for (int i = 0; i < n; i++)
    if (read(fds[i], sink, sizeof sink) == 0 && i == 0) stack_gone();
}

/* Lets go of everything that belongs to an attachment. No session may be in a slot. */
static void leave_stack(void) {
  attached = false;
  worker_bells_version++;
  kernel_close(attachment.socket);
  kernel_close(attachment.stack_fd);
  kernel_close(attachment.bell_fd);
  segment_detach(&attachment.segment);
  while (ends != NULL) {
    struct segment_end *end = ends;
    ends = end->next;
    end_free(end);
  }
}

/* A child of fork becomes a worker of its own; what the parent has is the parent's. Listeners are taken up when they are used,
 * so that a child which only runs another program does not get connections. */
void worker_after_fork(void) {
  pthread_mutex_init(&mutex, NULL);
  if (!attached) return;
  for (struct session *s = sessions; s != NULL; s = s->next) s->end = NULL;
  leave_stack();
  prepared = connect_stack();
  for (struct session *s = sessions; s != NULL; s = s->next) {
    if (s->state == SESSION_LISTENING) {
      s->state = SESSION_BOUND;
      s->accept_head = s->accept_tail = NULL;
      s->inherited = true;
      s->used = false;
    } else if (s->state >= SESSION_CONNECTING && s->state != SESSION_CLOSED) {
      s->state = SESSION_BOUND;
      fail(s, ENOTCONN);
    }
  }
}
