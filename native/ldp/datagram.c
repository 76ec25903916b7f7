/*
 * Datagram sockets (src/stack/vcl/datagram.ts): one bound endpoint that sends to and receives from anyone. Peers beyond the stack share one
 * session, whose datagrams carry addresses; each peer on the stack itself is a session underneath, opened by whoever sends first and used by
 * both. A full receiver on the stack pushes back (EAGAIN) instead of losing datagrams.
 *
 * A connected socket has one peer; what came from others before is lost with their sessions.
 */
#define _GNU_SOURCE
#include "ldp.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#define MAX_PENDING 64
#define MAX_PEERS 65536
/* How long to wait for the stack: longer means that it does not answer. */
#define ANSWER_MS 1000

struct packet {
  struct packet *next;
  size_t length;
  uint8_t data[];
};

bool same_endpoint(const struct endpoint *a, const struct endpoint *b) {
  return a->is_v4 == b->is_v4 && a->port == b->port && memcmp(a->words, b->words, a->is_v4 ? 4 : 16) == 0;
}

static bool is_loopback(const struct endpoint *e) {
  if (e->is_v4) return (uint32_t)e->words[0] >> 24 == 127;
  return e->words[0] == 0 && e->words[1] == 0 && e->words[2] == 0 && e->words[3] == 1;
}

static bool is_unspecified(const struct endpoint *e) {
  return e->words[0] == 0 && (e->is_v4 || (e->words[1] == 0 && e->words[2] == 0 && e->words[3] == 0));
}

static struct endpoint meant_by(const struct endpoint *to) {
  struct endpoint e = *to;
  if (!is_unspecified(&e)) return e;
  if (e.is_v4) e.words[0] = 0x7f000001;
  else e.words[3] = 1;
  return e;
}

/* Sleeps until the session is not connecting any more. */
static void wait_answer(struct session *s) {
  int64_t deadline = ldp_now_ms() + ANSWER_MS;
  while (s->state == SESSION_CONNECTING && ldp_left_ms(deadline) > 0)
    if (worker_drain() == 0) ldp_sleep(NULL, 0, ldp_left_ms(deadline));
}

/* --- peers --- */

void datagram_unlink(struct session *peer) {
  struct session *s = peer->owner;
  if (s == NULL) return;
  peer->owner = NULL;
  if (s->network == peer) s->network = NULL;
  for (struct session **at = &s->peers; *at != NULL; at = &(*at)->peer_next) {
    if (*at != peer) continue;
    *at = peer->peer_next;
    break;
  }
  struct session *last = NULL;
  for (struct session **at = &s->readable_head; *at != NULL; at = &(*at)->readable_next) {
    if (*at == peer) {
      *at = peer->readable_next;
      if (s->readable_tail == peer) s->readable_tail = last;
      break;
    }
    last = *at;
  }
  for (struct packet *p = peer->pending_head, *next; p != NULL; p = next) {
    next = p->next;
    free(p);
  }
  peer->pending_head = peer->pending_tail = NULL;
  peer->pending = 0;
}

static void forget_peer(struct session *peer) {
  datagram_unlink(peer);
  session_close(peer);
}

static struct session *find_peer(struct session *s, const struct endpoint *to) {
  for (struct session *p = s->peers; p != NULL; p = p->peer_next)
    if (same_endpoint(&p->remote, to)) return p;
  return NULL;
}

static void add_peer(struct session *s, struct session *peer) {
  peer->owner = s;
  peer->fds = 0;
  peer->peer_next = s->peers;
  s->peers = peer;
}

/* Whether a peer is of no use any more: its connect has failed, or it has closed and everything is read. */
static bool is_over(struct session *p) {
  if (p->state == SESSION_CONNECTING) return false;
  return p->end == NULL || p->error != 0 || ((p->read_closed || p->peer_closed) && fifo_used(&p->rx) == 0);
}

static void push_readable(struct session *s, struct session *peer) {
  if (peer->in_readable) return;
  peer->in_readable = true;
  peer->readable_next = NULL;
  if (s->readable_tail != NULL) s->readable_tail->readable_next = peer;
  else s->readable_head = peer;
  s->readable_tail = peer;
}

static void pop_readable(struct session *s) {
  struct session *peer = s->readable_head;
  s->readable_head = peer->readable_next;
  if (s->readable_head == NULL) s->readable_tail = NULL;
  peer->in_readable = false;
}

static ssize_t write_one(struct session *peer, const void *data, size_t length) {
  uint32_t header = htonl(length);
  if (peer->state == SESSION_CONNECTING) return -EAGAIN;
  if (peer->error != 0) return -peer->error;
  if (peer->end == NULL || peer->peer_closed) return -ECONNREFUSED;
  if (DATAGRAM_HEADER + length > fifo_size(&peer->tx)) return -EMSGSIZE;
  if (!fifo_write_pair(&peer->tx, &header, DATAGRAM_HEADER, data, length)) {
    if (peer->tx.corrupted) session_fail(peer, ECONNRESET);
    if (!fifo_want_room(&peer->tx, DATAGRAM_HEADER + length)) return -EAGAIN;
    if (!fifo_write_pair(&peer->tx, &header, DATAGRAM_HEADER, data, length)) {
      session_starve(peer);
      return -EAGAIN;
    }
  }
  session_has_written(peer);
  return length;
}

static void flush(struct session *peer) {
  while (peer->pending_head != NULL && peer->state != SESSION_CONNECTING) {
    struct packet *p = peer->pending_head;
    if (write_one(peer, p->data, p->length) == -EAGAIN) return;
    peer->pending_head = p->next;
    if (p->next == NULL) peer->pending_tail = NULL;
    peer->pending--;
    free(p);
  }
}

static ssize_t keep(struct session *peer, const void *data, size_t length) {
  struct packet *p = peer->pending >= MAX_PENDING ? NULL : malloc(sizeof *p + length);
  if (p == NULL) return -EAGAIN;
  p->next = NULL;
  p->length = length;
  memcpy(p->data, data, length);
  if (peer->pending_tail != NULL) peer->pending_tail->next = p;
  else peer->pending_head = p;
  peer->pending_tail = p;
  peer->pending++;
  return length;
}

/* The peer's session, made if need be. NULL: no memory, or no stack. */
static struct session *open_peer(struct session *s, const struct endpoint *to) {
  struct session *peer = find_peer(s, to);
  if (peer != NULL && !is_over(peer)) return peer;
  if (peer != NULL) forget_peer(peer);
  if (vcl_ready() != 0 || (peer = session_create(s->family, true)) == NULL) return NULL;
  peer->local = s->local;
  if (is_unspecified(&peer->local)) peer->local.is_v4 = to->is_v4;
  peer->remote = *to;
  memcpy(peer->attributes, s->attributes, sizeof peer->attributes);
  peer->attributes_set = s->attributes_set;
  add_peer(s, peer);
  session_connect(peer);
  return peer;
}

void datagram_raised(struct session *peer, bool in) {
  struct session *s = peer->owner;
  flush(peer);
  if (peer->error == ECONNREFUSED && s->error == 0) s->error = ECONNREFUSED;
  if (in && peer != s->network) push_readable(s, peer);
  session_raise(s, true, true);
}

void datagram_accepted(struct session *s, struct session *peer) {
  if (peer->remote.port == 0) {
    peer->owner = s;
    s->network = peer;
  } else add_peer(s, peer);
  session_raise(peer, true, true);
}

/* --- what a socket does --- */

int datagram_bind(struct session *s) {
  if (s->state == SESSION_LISTENING) return 0;
  int error = vcl_ready();
  if (error != 0) return error;
  s->error = 0;
  if (s->state <= SESSION_BOUND) error = session_listen(s, MAX_PEERS);
  if (error != 0) return error;
  wait_answer(s);
  if (s->state == SESSION_LISTENING) {
    /* The session of the network's peers comes behind the answer. */
    worker_drain();
    return 0;
  }
  error = s->error != 0 ? s->error : ETIMEDOUT;
  s->error = 0;
  return error;
}

int datagram_probe(struct session *s, const struct endpoint *address) {
  struct endpoint to = meant_by(address);
  struct session *peer = open_peer(s, &to);
  if (peer == NULL) return ENETDOWN;
  wait_answer(peer);
  int error = peer->state == SESSION_CONNECTING ? ETIMEDOUT : peer->error;
  s->error = 0;
  if (error != 0) forget_peer(peer);
  return error;
}

int datagram_connect(struct session *s, const struct endpoint *address) {
  struct endpoint to = meant_by(address);
  int error = datagram_probe(s, &to);
  s->target = to;
  if (error != 0) return error;
  struct session *peer = find_peer(s, &to);
  for (struct session *p = s->peers, *next; p != NULL; p = next) {
    next = p->peer_next;
    if (p != peer) forget_peer(p);
  }
  if (s->network != NULL) forget_peer(s->network);
  if (s->state == SESSION_LISTENING) session_unlisten(s);
  s->local = peer->local;
  s->state = SESSION_BOUND;
  session_raise(s, false, true);
  return 0;
}

void datagram_disconnect(struct session *s) {
  memset(&s->target, 0, sizeof s->target);
  datagram_close(s);
  s->error = 0;
}

void datagram_close(struct session *s) {
  while (s->peers != NULL) forget_peer(s->peers);
  if (s->network != NULL) forget_peer(s->network);
}

bool datagram_waits(struct session *s, const struct endpoint *address) {
  struct endpoint to = meant_by(address);
  struct session *peer = find_peer(s, &to);
  if (peer == NULL) return false;
  flush(peer);
  return peer->pending_head != NULL;
}

static ssize_t send_to_network(struct session *network, const void *data, size_t length, const struct endpoint *to) {
  uint8_t header[ADDRESSED_HEADER] = {0};
  uint32_t words[4], bytes = htonl(length);
  uint16_t port = htons(to->port), family = htons(to->is_v4 ? 4 : 6);
  for (int i = 0; i < 4; i++) words[i] = htonl(to->words[i]);
  memcpy(header, &bytes, sizeof bytes);
  memcpy(header + ADDRESSED_PORT, &port, sizeof port);
  memcpy(header + ADDRESSED_FAMILY, &family, sizeof family);
  memcpy(header + ADDRESSED_PEER, words, sizeof words);
  if (sizeof header + length > fifo_size(&network->tx)) return -EMSGSIZE;
  if (!fifo_write_pair(&network->tx, header, sizeof header, data, length)) {
    if (!fifo_want_room(&network->tx, sizeof header + length)) return -EAGAIN;
    if (!fifo_write_pair(&network->tx, header, sizeof header, data, length)) {
      session_starve(network);
      return -EAGAIN;
    }
  }
  session_has_written(network);
  return length;
}

ssize_t datagram_send(struct session *s, const void *data, size_t length, const struct endpoint *address) {
  struct endpoint to = meant_by(address);
  if (length > MAX_DATAGRAM) return -EMSGSIZE;
  if (s->write_shut) return -EPIPE;
  if (s->error != 0) {
    int error = s->error;
    s->error = 0;
    return -error;
  }
  struct session *peer = find_peer(s, &to);
  if (peer == NULL && s->network != NULL && s->network->end != NULL && !is_loopback(&to))
    return send_to_network(s->network, data, length, &to);
  peer = open_peer(s, &to);
  if (peer == NULL) return -ENETDOWN;
  flush(peer);
  if (peer->pending_head != NULL || peer->state == SESSION_CONNECTING) return keep(peer, data, length);
  return write_one(peer, data, length);
}

/* The next datagram of a session: cut to `length`, `whole` is what it was. `header` has room for an addressed one. */
static ssize_t read_one(struct session *p, size_t header_bytes, uint8_t *header, void *data, size_t length, bool peek, size_t *whole) {
  uint32_t bytes;
  if (p->end == NULL || fifo_used(&p->rx) == 0) return -EAGAIN;
  uint32_t used = fifo_used(&p->rx);
  if (fifo_read(&p->rx, header, header_bytes, true) < header_bytes) {
    session_fail(p, ECONNRESET);
    return -EAGAIN;
  }
  memcpy(&bytes, header, sizeof bytes);
  bytes = ntohl(bytes);
  /* A header and its bytes come together: anything else is a peer's mistake. */
  if (bytes > used - header_bytes) {
    session_fail(p, ECONNRESET);
    return -EAGAIN;
  }
  *whole = bytes;
  if (length > bytes) length = bytes;
  if (peek) {
    /* A look at more than the header, from the same place. */
    uint8_t *all = malloc(header_bytes + length);
    if (all == NULL) return -ENOMEM;
    fifo_read(&p->rx, all, header_bytes + length, true);
    memcpy(data, all + header_bytes, length);
    free(all);
    return length;
  }
  fifo_read(&p->rx, NULL, header_bytes, false);
  fifo_read(&p->rx, data, length, false);
  if (bytes > length) fifo_read(&p->rx, NULL, bytes - length, false);
  session_has_read(p);
  return length;
}

static ssize_t receive_from_network(struct session *s, void *data, size_t length, bool peek, struct endpoint *from, size_t *whole) {
  uint8_t header[ADDRESSED_HEADER];
  uint16_t port, family;
  uint32_t words[4];
  ssize_t n = read_one(s->network, sizeof header, header, data, length, peek, whole);
  if (n < 0) return n;
  memcpy(&port, header + ADDRESSED_PORT, sizeof port);
  memcpy(&family, header + ADDRESSED_FAMILY, sizeof family);
  memcpy(words, header + ADDRESSED_PEER, sizeof words);
  from->is_v4 = ntohs(family) == 4;
  from->port = ntohs(port);
  for (int i = 0; i < 4; i++) from->words[i] = ntohl(words[i]);
  return n;
}

ssize_t datagram_receive(struct session *s, void *data, size_t length, bool peek, struct endpoint *from, size_t *whole) {
  uint8_t header[ADDRESSED_HEADER];
  if (s->error != 0) {
    int error = s->error;
    s->error = 0;
    return -error;
  }
  if (s->network != NULL && (s->readable_head == NULL || (s->network_turn = !s->network_turn))) {
    ssize_t n = receive_from_network(s, data, length, peek, from, whole);
    if (n != -EAGAIN) return n;
  }
  while (s->readable_head != NULL) {
    struct session *peer = s->readable_head;
    ssize_t n = read_one(peer, DATAGRAM_HEADER, header, data, length, peek, whole);
    if (n >= 0) {
      *from = peer->remote;
      if (!peek) {
        /* Back to the end of the line: every peer gets its turn. */
        pop_readable(s);
        push_readable(s, peer);
      }
      return n;
    }
    pop_readable(s);
    if (is_over(peer)) forget_peer(peer);
  }
  if (s->network == NULL) return s->read_closed ? 0 : -EAGAIN;
  ssize_t n = receive_from_network(s, data, length, peek, from, whole);
  return n == -EAGAIN && s->read_closed ? 0 : n;
}

size_t datagram_next_length(struct session *s) {
  uint32_t bytes = 0;
  struct session *first = s->network != NULL && s->network->end != NULL && fifo_used(&s->network->rx) > 0 ? s->network : NULL;
  for (struct session *p = s->readable_head; first == NULL && p != NULL; p = p->readable_next)
    if (p->end != NULL && fifo_used(&p->rx) > 0) first = p;
  if (first == NULL || fifo_read(&first->rx, &bytes, sizeof bytes, true) < sizeof bytes) return 0;
  return ntohl(bytes);
}

short datagram_readiness(struct session *s) {
  short mask = POLLOUT;
  if (s->error != 0) mask |= POLLERR | POLLIN;
  if (s->read_closed) mask |= POLLIN | POLLRDHUP;
  if (s->network != NULL && s->network->end != NULL && fifo_used(&s->network->rx) > 0) mask |= POLLIN;
  for (struct session *p = s->readable_head; p != NULL && (mask & POLLIN) == 0; p = p->readable_next)
    if (p->end != NULL && fifo_used(&p->rx) > 0) mask |= POLLIN;
  if (s->target.port == 0) return mask;
  struct session *peer = find_peer(s, &s->target);
  bool full = peer != NULL && (peer->pending >= MAX_PENDING || (peer->end != NULL && !peer->peer_closed && session_room(peer) == 0));
  return full ? mask & ~POLLOUT : mask;
}
