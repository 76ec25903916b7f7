/* Bytes of stream sessions, and what could be done with them now (src/stack/vcl/session.ts). */
#define _GNU_SOURCE
#include "vcl.h"

#include <errno.h>
#include <poll.h>

void session_has_read(struct session *s) {
  if (!s->end->borrowed && fifo_should_notify(&s->rx)) queue_send_io(&s->end->to_peer, s->slot << 2 | IO_EVENT_ROOM);
}

void session_has_written(struct session *s) {
  if (!s->end->borrowed && fifo_raise_event(&s->tx)) queue_send_io(&s->end->to_peer, s->slot << 2 | IO_EVENT_DATA);
}

static ssize_t read_own(struct session *s, void *data, size_t length, bool peek) {
  if (s->end == NULL) return s->error != 0 ? -s->error : s->state == SESSION_CONNECTING ? -EAGAIN : s->read_closed ? 0 : -ENOTCONN;
  size_t n = fifo_read(&s->rx, data, length, peek);
  if (n > 0) {
    if (!peek) session_has_read(s);
    return n;
  }
  if (length == 0) return 0;
  if (s->rx.corrupted) session_fail(s, ECONNRESET);
  if (s->error != 0) return -s->error;
  return s->read_closed ? 0 : -EAGAIN;
}

ssize_t session_read(struct session *s, void *data, size_t length, bool peek) {
  if (!s->shared) return read_own(s, data, length, peek);
  int error = share_enter(s, share_readable(s) > 0 || s->read_closed);
  if (error != 0) return -error;
  ssize_t n = read_own(s, data, length, peek);
  share_leave(s);
  return n;
}

/* A full FIFO is worth writing to again when a quarter of it is free. */
static bool want_room(struct session *s) { return fifo_want_room(&s->tx, fifo_size(&s->tx) / 4); }

static ssize_t write_own(struct session *s, const void *data, size_t length) {
  if (s->state == SESSION_CONNECTING) return -EAGAIN;
  if (s->error != 0) return -s->error;
  if (s->write_shut || s->peer_closed) return -EPIPE;
  if (s->end == NULL) return -ENOTCONN;
  size_t n = fifo_write(&s->tx, data, length);
  if (n < length && want_room(s)) {
    n += fifo_write(&s->tx, (const char *)data + n, length - n);
    if (n == 0) session_starve(s);
  }
  if (n > 0) session_has_written(s);
  if (n > 0 || length == 0) return n;
  if (!s->tx.corrupted) return -EAGAIN;
  session_fail(s, ECONNRESET);
  return -ECONNRESET;
}

ssize_t session_write(struct session *s, const void *data, size_t length) {
  if (!s->shared) return write_own(s, data, length);
  int error = share_enter(s, true);
  if (error != 0) return -error;
  ssize_t n = write_own(s, data, length);
  share_leave(s);
  return n;
}

static size_t own_room(struct session *s) {
  if (s->end == NULL || s->starved) return 0;
  size_t room = fifo_free(&s->tx);
  return room > 0 || !want_room(s) ? room : fifo_free(&s->tx);
}

size_t session_room(struct session *s) {
  if (!s->shared) return own_room(s);
  if (share_enter(s, true) != 0) return 0;
  size_t room = own_room(s);
  share_leave(s);
  return room;
}

static short stream_readiness(struct session *s, bool readable, bool writable) {
  short mask = 0;
  if (s->error != 0) mask |= POLLERR | POLLHUP | POLLIN | POLLOUT;
  if (s->read_closed) mask |= POLLIN | POLLRDHUP;
  if (readable) mask |= POLLIN;
  if (s->peer_closed) mask |= POLLOUT | POLLHUP;
  else if (s->read_closed && s->write_shut) mask |= POLLHUP;
  if (s->write_shut || s->peer_closed || writable) mask |= POLLOUT;
  return mask;
}

short session_readiness(struct session *s) {
  if (s->datagram) return datagram_readiness(s);
  if (s->state == SESSION_LISTENING) return s->accept_head != NULL ? POLLIN : 0;
  if (s->state == SESSION_CONNECTING) return 0;
  if (s->state < SESSION_CONNECTING && s->error == 0) return s->inherited ? 0 : POLLOUT | POLLHUP;
  if (s->shared && share_enter(s, false) != 0) return stream_readiness(s, share_readable(s) > 0, share_room(s) > 0);
  bool writable = !s->write_shut && !s->peer_closed && own_room(s) > 0;
  short mask = stream_readiness(s, s->end != NULL && fifo_used(&s->rx) > 0, writable);
  if (s->shared) share_leave(s);
  return mask;
}
