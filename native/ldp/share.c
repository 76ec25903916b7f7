/*
 * Sessions that several processes hold, as after fork (src/stack/session/shared_sessions.ts; VPP: VLS). Each of them may close and shut
 * down. One, the owner, moves bytes: whoever wants to and is not asks the stack, which lets it have the session between two calls of the
 * owner's. Bytes stay where they are, in memory that the new owner maps too; events come to it by its own segment with the peer.
 *
 * Before fork the stack is told what the child will hold, under the name of a socket that the child is born with: it knows when the child
 * ends, whatever it does. Across exec the same (ldp_exec.c). Listeners, too: the address stays taken while one of the processes has it open.
 */
#define _GNU_SOURCE
#include "ldp.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/* How long an owner that only waits leaves a session to another that has taken it away: two that wait do not do so in turns. */
#define RECLAIM_MS 20
/* The stack answers a claim at once. */
#define CLAIM_MS 2000

/* In the child: the socket that it was born with, until it has attached. */
static int heir = -1;
/* In the parent, during the fork. */
static int born = -1;
static int next_heir;

static bool is_connection(const struct session *s) {
  return s->state == SESSION_READY && !s->datagram && s->fds > 0 && s->stack_index >= 0 && s->error == 0;
}

/* Listens, or was handed over by the parent and is not used yet. */
static bool is_listener(const struct session *s) {
  return !s->datagram && s->fds > 0 && s->stack_index >= 0 && (s->state == SESSION_LISTENING || (s->inherited && s->held));
}

int share_make_heir(bool (*each)(const struct session *), bool listeners) {
  int pair[2];
  bool any = false;
  for (struct session *s = worker_sessions; s != NULL && !any; s = s->next)
    any = (is_connection(s) && each(s)) || (listeners && is_listener(s));
  if (!any || vcl_ready() != 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) != 0) return -1;
  bool sent = send_heir(worker_socket(), ++next_heir, pair[0]);
  kernel_close(pair[0]);
  for (struct session *s = worker_sessions; s != NULL && sent; s = s->next) {
    if (listeners && is_listener(s)) s->held = true;
    else if (is_connection(s) && each(s)) s->shared = true;
    else continue;
    worker_request(REQUEST_HOLD, s, next_heir, 0);
  }
  if (sent) return pair[1];
  kernel_close(pair[1]);
  return -1;
}

static bool every(const struct session *s) {
  (void)s;
  return true;
}

void share_before_fork(void) { born = worker_is_attached() || heir >= 0 ? internal_fd(share_make_heir(every, true)) : -1; }

void share_forked(void) {
  if (born >= 0) kernel_close(born);
  born = -1;
  for (struct session *s = worker_sessions; s != NULL; s = s->next)
    if (!s->inherited) s->held = false;
}

void share_born(void) {
  /* That of the parent, which has not attached: it is the parent's. */
  if (heir >= 0) kernel_close(heir);
  heir = born;
  born = -1;
}

void share_use_heir(int socket) { heir = internal_fd(socket); }

bool share_is_heir(void) { return heir >= 0; }

int share_take_heir(void) {
  int taken = heir;
  heir = -1;
  return taken;
}

void share_lost(void) {
  for (struct session *s = worker_sessions; s != NULL; s = s->next) {
    if (s->held) s->stack_index = -1;
    s->held = false;
    if (!s->shared || s->memory != NULL) continue;
    s->stack_index = -1;
    session_fail(s, ENETDOWN);
  }
}

void share_session_after_fork(struct session *s) {
  bool goes_on = heir >= 0 && s->shared && is_connection(s);
  fifo_producer_forget(&s->tx);
  s->end = s->memory = NULL;
  s->owned = s->inside = s->claimed = s->home = false;
  s->taken_ms = 0;
  if (goes_on) session_add_name(s);
  else if (heir < 0 || !s->held) {
    s->stack_index = -1;
    s->shared = s->held = false;
  }
}

/* --- whose turn it is --- */

static int32_t *sent_header(const struct session *s) { return segment_fifo(&s->memory->segment, s->memory_slot, s->memory->side); }

static int32_t *received_header(const struct session *s) { return segment_fifo(&s->memory->segment, s->memory_slot, 1 - s->memory->side); }

uint32_t share_readable(const struct session *s) { return s->memory == NULL ? 0 : fifo_level(received_header(s)); }

uint32_t share_written(const struct session *s) { return s->memory == NULL ? 0 : fifo_level(sent_header(s)); }

uint32_t share_room(const struct session *s) {
  if (s->memory == NULL || s->write_shut || s->peer_closed) return 0;
  uint32_t level = fifo_level(sent_header(s)), size = sent_header(s)[FIFO_SIZE];
  return level < size ? size - level : 0;
}

static void claim(struct session *s, bool now) {
  if (s->claimed || s->stack_index < 0) return;
  if (!now && s->taken_ms != 0 && ldp_now_ms() - s->taken_ms < RECLAIM_MS) {
    /* Looked at again soon. */
    session_starve(s);
    return;
  }
  if (vcl_ready() != 0) session_fail(s, ENETDOWN);
  if (s->error != 0) return;
  s->claimed = true;
  worker_request(REQUEST_CLAIM, s, 0, 0);
}

int share_enter(struct session *s, bool now) {
  if (s->state != SESSION_READY || s->memory == NULL || !s->owned) {
    if (s->state != SESSION_READY || s->error != 0) return s->error != 0 ? s->error : ENOTCONN;
    claim(s, now);
    return EAGAIN;
  }
  if (slot_enter(sent_header(s), worker_index())) {
    s->inside = true;
    return 0;
  }
  /* It was taken away just now. */
  s->owned = false;
  s->taken_ms = ldp_now_ms();
  claim(s, now);
  return EAGAIN;
}

void share_leave(struct session *s) {
  if (s->inside && s->memory != NULL) slot_leave(sent_header(s), worker_index());
  s->inside = false;
}

void share_wait(struct session *s) {
  int64_t deadline = ldp_now_ms() + CLAIM_MS;
  int fd = s->fd;
  while (ldp_session(fd) == s && s->shared && s->state == SESSION_READY && s->memory == NULL && s->error == 0 && ldp_left_ms(deadline) > 0) {
    claim(s, true);
    if (worker_drain() == 0) ldp_sleep(NULL, 0, ldp_left_ms(deadline));
  }
}

void share_close(struct session *s) {
  if (vcl_ready() != 0 || s->stack_index < 0) {
    session_forget(s);
    return;
  }
  s->state = SESSION_CLOSED;
  /* What others have left unread when the last one closes the stack sees for itself. */
  worker_request(REQUEST_CLOSE, s, 0, s->reset_on_close ? MESSAGE_FLAG_RESET : 0);
}

void share_close_listener(struct session *s) {
  s->held = false;
  if (heir >= 0) send_unlisten(heir, s);
  else if (worker_is_attached()) worker_request(REQUEST_UNLISTEN, s, 0, 0);
}

/* --- notices --- */

static void on_adopted(struct session *s, const int32_t *m) {
  struct segment_end *memory = worker_find_end(m);
  uint32_t slot = m[MESSAGE_SLOT];
  s->claimed = false;
  if (memory == NULL || slot >= memory->segment.slots || (s->memory != NULL && s->memory != memory)) {
    session_fail(s, ENOBUFS);
    return;
  }
  session_leave_events(s);
  if (s->memory == NULL) memory->in_use++;
  s->memory = s->end = memory;
  s->memory_slot = s->slot = slot;
  fifo_producer_forget(&s->tx);
  fifo_consumer_init(&s->rx, &memory->segment, received_header(s), 1 - memory->side);
  fifo_producer_init(&s->tx, &memory->arena, sent_header(s));
  fifo_consumer_resume(&s->rx);
  fifo_producer_resume(&s->tx);
  s->owned = true;
  if ((m[MESSAGE_FLAGS] & MESSAGE_FLAG_SHUT) != 0) s->write_shut = true;
  session_raise(s, true, true);
}

static void on_moved(struct session *s, const int32_t *m) {
  struct segment_end *end = worker_find_end(m);
  if (s->memory == NULL) return;
  session_leave_events(s);
  if (!session_enter_events(s, end, m[MESSAGE_SLOT])) {
    /* That process is over already, and its segment with it: the next notice says who uses the session now. */
    s->end = s->memory;
    s->slot = s->memory_slot;
    return;
  }
  /* What was said the other way is not heard any more, on either side. */
  fifo_clear_event(&s->rx);
  queue_send_io(&end->to_peer, s->slot << 2 | IO_EVENT_DATA);
  queue_send_io(&end->to_peer, s->slot << 2 | IO_EVENT_ROOM);
  session_raise(s, true, true);
}

void share_notice(struct session *s, const int32_t *m) {
  switch (m[MESSAGE_TYPE]) {
    case NOTICE_ADOPTED:
      on_adopted(s, m);
      break;
    case NOTICE_MOVED:
      on_moved(s, m);
      break;
    case NOTICE_TAKEN:
      s->owned = s->claimed = false;
      s->taken_ms = ldp_now_ms();
      session_leave_events(s);
      session_raise(s, true, true);
      break;
    case NOTICE_SHUT:
      s->write_shut = true;
      session_raise(s, false, true);
      break;
  }
}
