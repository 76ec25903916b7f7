/* Bytes in and out of sessions: the read and write families, sendfile and splice. */
#define _GNU_SOURCE
#include "ldp.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define PIECE 65536
/* What one sendfile moves at most: others have their turn too. */
#define MAX_SENDFILE (1 << 20)

DECLARE_LIBC(read);
DECLARE_LIBC(readv);
DECLARE_LIBC(write);
DECLARE_LIBC(writev);
DECLARE_LIBC(recv);
DECLARE_LIBC(recvfrom);
DECLARE_LIBC(recvmsg);
DECLARE_LIBC(recvmmsg);
DECLARE_LIBC(send);
DECLARE_LIBC(sendto);
DECLARE_LIBC(sendmsg);
DECLARE_LIBC(sendmmsg);
DECLARE_LIBC(sendfile);
DECLARE_LIBC(splice);

/* How long a call on this descriptor may sleep: looked up when it has to, for it costs system calls. */
struct patience {
  int fd, option, flags;
  bool known;
  int64_t deadline;
};

/* With the lock held: sleeps until something may have changed. 0, or the errno with which the call ends. */
static int wait_more(struct patience *p) {
  if (worker_drain() > 0) return 0;
  if (!p->known) {
    p->known = true;
    int limit = (p->flags & MSG_DONTWAIT) != 0 || !ldp_is_blocking(p->fd) ? 0 : ldp_timeout_of(p->fd, p->option);
    p->deadline = limit < 0 ? -1 : ldp_now_ms() + limit;
  }
  if (ldp_left_ms(p->deadline) == 0) return EAGAIN;
  return ldp_sleep(NULL, 0, ldp_left_ms(p->deadline)) < 0 && errno == EINTR ? EINTR : 0;
}

static size_t total_of(const struct iovec *iov, size_t count) {
  size_t total = 0;
  for (size_t i = 0; i < count; i++) total += iov[i].iov_len;
  return total;
}

/* --- streams --- */

static ssize_t read_some(struct session *s, const struct iovec *iov, int count, size_t skip, bool peek) {
  ssize_t done = 0, n = 0;
  for (int i = 0; i < count; i++) {
    if (skip >= iov[i].iov_len) {
      skip -= iov[i].iov_len;
      continue;
    }
    size_t want = iov[i].iov_len - skip;
    n = session_read(s, (char *)iov[i].iov_base + skip, want, peek);
    if (n < 0) break;
    done += n;
    skip = 0;
    /* A second look would see the same bytes again. */
    if ((size_t)n < want || peek) break;
  }
  return done > 0 ? done : n;
}

static ssize_t move_in(int fd, const struct iovec *iov, int count, int flags) {
  struct patience patience = {.fd = fd, .option = SO_RCVTIMEO, .flags = flags};
  size_t total = total_of(iov, count);
  bool peek = (flags & MSG_PEEK) != 0, all = (flags & MSG_WAITALL) != 0;
  ssize_t done = 0, n = 0;
  int error = 0;
  if ((flags & MSG_OOB) != 0) return ldp_failed(EINVAL);
  if ((flags & MSG_ERRQUEUE) != 0) return ldp_failed(EAGAIN);
  vcl_lock();
  struct session *s = ldp_session(fd);
  if (s != NULL) share_wait(s);
  while (error == 0 && (s = ldp_session(fd)) != NULL) {
    n = read_some(s, iov, count, peek ? 0 : done, peek);
    if (n > 0) done = peek ? n : done + n;
    if (n >= 0 ? n == 0 || !all || (size_t)done >= total : n != -EAGAIN) break;
    error = wait_more(&patience);
  }
  if (s != NULL && done == 0 && n < 0 && n != -EAGAIN) s->error = 0;
  vcl_unlock();
  if (done > 0) return done;
  return s == NULL ? ldp_failed(EBADF) : error != 0 ? ldp_failed(error) : n < 0 ? ldp_failed(-n) : 0;
}

static ssize_t move_out(int fd, const struct iovec *iov, int count, int flags) {
  struct patience patience = {.fd = fd, .option = SO_SNDTIMEO, .flags = flags};
  ssize_t done = 0, n = 0;
  size_t within = 0;
  int error = 0;
  if ((flags & MSG_OOB) != 0) return ldp_failed(EOPNOTSUPP);
  vcl_lock();
  struct session *s = ldp_session(fd);
  if (s != NULL) share_wait(s);
  for (int i = 0; (s = ldp_session(fd)) != NULL && i < count && error == 0;) {
    n = session_write(s, (const char *)iov[i].iov_base + within, iov[i].iov_len - within);
    if (n < 0 && n != -EAGAIN) break;
    if (n > 0) {
      done += n;
      within += n;
    }
    if (within == iov[i].iov_len) {
      i++;
      within = 0;
    } else error = wait_more(&patience);
  }
  if (s != NULL && done == 0 && n < 0 && n != -EAGAIN && n != -EPIPE) s->error = 0;
  vcl_unlock();
  if (done > 0) return done;
  if (s == NULL) return ldp_failed(EBADF);
  if (n == -EPIPE && (flags & MSG_NOSIGNAL) == 0) raise(SIGPIPE);
  return error != 0 ? ldp_failed(error) : n < 0 ? ldp_failed(-n) : 0;
}

/* --- datagrams --- */

/* 0, an errno, or -1: the socket is the kernel's now. */
static int prepare_send(struct session *s, const struct endpoint *to) {
  if (s->state == SESSION_LISTENING || s->target.port != 0) return 0;
  enum verdict verdict = ldp_decide(true, to);
  int error = verdict == TO_KERNEL ? EHOSTUNREACH : datagram_bind(s);
  /* Where the first one goes decides for the socket. */
  if (error == 0 && verdict == TO_AUTO) error = datagram_probe(s, to);
  if (error == 0) return 0;
  if (verdict == TO_STACK && error == ECONNREFUSED) return 0;
  if (verdict == TO_STACK || error == ETIMEDOUT || error == ENOBUFS) return error;
  ldp_release(s);
  return -1;
}

/* As for streams; -2: the socket is the kernel's now. */
static ssize_t datagram_out(int fd, const struct iovec *iov, int count, int flags, const struct sockaddr *address, socklen_t size) {
  struct patience patience = {.fd = fd, .option = SO_SNDTIMEO, .flags = flags};
  struct endpoint to;
  size_t length = total_of(iov, count);
  ssize_t n = 0;
  int error = 0;
  if ((flags & MSG_OOB) != 0) return ldp_failed(EOPNOTSUPP);
  if (length > MAX_DATAGRAM) return ldp_failed(EMSGSIZE);
  if (address != NULL && !ldp_read_address(&to, address, size)) return ldp_failed(EINVAL);
  uint8_t *joined = count == 1 ? NULL : malloc(length + 1);
  const void *data = count == 1 ? iov[0].iov_base : joined;
  if (data == NULL && length > 0) return ldp_failed(ENOMEM);
  for (size_t i = 0, at = 0; count != 1 && i < (size_t)count; at += iov[i++].iov_len) memcpy(joined + at, iov[i].iov_base, iov[i].iov_len);
  vcl_lock();
  worker_drain();
  struct session *s = ldp_session(fd);
  if (address == NULL && s != NULL) to = s->target;
  if (s == NULL) error = EBADF;
  else if (to.port == 0) error = address == NULL ? EDESTADDRREQ : EINVAL;
  else error = prepare_send(s, &to);
  while (error == 0 && (s = ldp_session(fd)) != NULL) {
    n = datagram_send(s, data, length, &to);
    if (n != -EAGAIN) break;
    error = wait_more(&patience);
  }
  /* Nobody may look at events after this call: what waits for its session goes now. */
  for (int64_t until = ldp_now_ms() + 1000; n >= 0 && error == 0 && (s = ldp_session(fd)) != NULL && datagram_waits(s, &to);) {
    if (ldp_left_ms(until) == 0) break;
    if (worker_drain() == 0) ldp_sleep(NULL, 0, ldp_left_ms(until));
  }
  vcl_unlock();
  free(joined);
  if (error == -1) return -2;
  if (n == -EPIPE && (flags & MSG_NOSIGNAL) == 0) raise(SIGPIPE);
  return error != 0 ? ldp_failed(error) : n < 0 ? ldp_failed(-n) : n;
}

static ssize_t datagram_in(int fd, const struct iovec *iov, int count, int flags, struct sockaddr *address, socklen_t *size, int *out) {
  struct patience patience = {.fd = fd, .option = SO_RCVTIMEO, .flags = flags};
  size_t room = total_of(iov, count), whole = 0;
  ssize_t n = 0;
  int error = 0;
  struct endpoint from = {0};
  if ((flags & MSG_ERRQUEUE) != 0) return ldp_failed(EAGAIN);
  uint8_t *joined = count == 1 ? NULL : malloc(room + 1);
  if (count != 1 && joined == NULL) return ldp_failed(ENOMEM);
  vcl_lock();
  struct session *s = ldp_session(fd);
  if (s != NULL && s->state != SESSION_LISTENING && s->target.port == 0 && s->error == 0) error = datagram_bind(s);
  while (error == 0 && (s = ldp_session(fd)) != NULL) {
    n = datagram_receive(s, count == 1 ? iov[0].iov_base : joined, room, (flags & MSG_PEEK) != 0, &from, &whole);
    if (n != -EAGAIN) break;
    error = wait_more(&patience);
  }
  if (n >= 0 && error == 0 && s != NULL && (s->read_closed ? from.port != 0 : true)) ldp_write_address(&from, s->family, address, size);
  vcl_unlock();
  size_t left = n > 0 ? n : 0, at = 0;
  for (int i = 0; joined != NULL && i < count && left > 0; i++) {
    size_t piece = left < iov[i].iov_len ? left : iov[i].iov_len;
    memcpy(iov[i].iov_base, joined + at, piece);
    at += piece;
    left -= piece;
  }
  free(joined);
  if (s == NULL) return ldp_failed(EBADF);
  if (error != 0 || n < 0) return ldp_failed(error != 0 ? error : -n);
  if (out != NULL && whole > room) *out |= MSG_TRUNC;
  return (flags & MSG_TRUNC) != 0 ? (ssize_t)whole : n;
}

static ssize_t take_in(int fd, const struct iovec *iov, int count, int flags, struct sockaddr *address, socklen_t *size) {
  struct session *s = ldp_session(fd);
  if (s == NULL) return ldp_failed(EBADF);
  if (s->datagram) return datagram_in(fd, iov, count, flags, address, size, NULL);
  if (size != NULL) *size = 0;
  return move_in(fd, iov, count, flags);
}

/* --- in --- */

static bool bad_count(int count) { return count < 0 || count > IOV_MAX; }

ssize_t read(int fd, void *data, size_t length) {
  if (!ldp_is_session(fd)) return LIBC(read)(fd, data, length);
  return take_in(fd, &(struct iovec){data, length}, 1, 0, NULL, NULL);
}

ssize_t readv(int fd, const struct iovec *iov, int count) {
  if (!ldp_is_session(fd)) return LIBC(readv)(fd, iov, count);
  return bad_count(count) ? ldp_failed(EINVAL) : take_in(fd, iov, count, 0, NULL, NULL);
}

ssize_t recv(int fd, void *data, size_t length, int flags) {
  if (!ldp_is_session(fd)) return LIBC(recv)(fd, data, length, flags);
  return take_in(fd, &(struct iovec){data, length}, 1, flags, NULL, NULL);
}

ssize_t recvfrom(int fd, void *data, size_t length, int flags, struct sockaddr *address, socklen_t *size) {
  if (!ldp_is_session(fd)) return LIBC(recvfrom)(fd, data, length, flags, address, size);
  return take_in(fd, &(struct iovec){data, length}, 1, flags, address, size);
}

ssize_t recvmsg(int fd, struct msghdr *message, int flags) {
  struct session *s = ldp_session(fd);
  if (s == NULL) return LIBC(recvmsg)(fd, message, flags);
  if (message->msg_iovlen > IOV_MAX) return ldp_failed(EMSGSIZE);
  message->msg_controllen = message->msg_flags = 0;
  if (s->datagram)
    return datagram_in(fd, message->msg_iov, message->msg_iovlen, flags, message->msg_name, &message->msg_namelen, &message->msg_flags);
  message->msg_namelen = 0;
  return move_in(fd, message->msg_iov, message->msg_iovlen, flags);
}

int recvmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags, struct timespec *timeout) {
  if (!ldp_is_session(fd)) return LIBC(recvmmsg)(fd, messages, count, flags, timeout);
  unsigned done = 0;
  int each = flags & ~MSG_WAITFORONE;
  int64_t deadline = timeout == NULL ? -1 : ldp_now_ms() + timeout->tv_sec * 1000 + timeout->tv_nsec / 1000000;
  while (done < count) {
    ssize_t n = recvmsg(fd, &messages[done].msg_hdr, each);
    if (n < 0) return done > 0 ? (int)done : -1;
    messages[done++].msg_len = n;
    if ((flags & MSG_WAITFORONE) != 0) each |= MSG_DONTWAIT;
    /* As the kernel's: looked at after each message only. */
    if (ldp_left_ms(deadline) == 0) break;
  }
  return done;
}

ssize_t __read_chk(int fd, void *data, size_t length, size_t size) { return length > size ? ldp_failed(EFAULT) : read(fd, data, length); }

ssize_t __recv_chk(int fd, void *data, size_t length, size_t size, int flags) {
  return length > size ? ldp_failed(EFAULT) : recv(fd, data, length, flags);
}

ssize_t __recvfrom_chk(int fd, void *data, size_t length, size_t size, int flags, struct sockaddr *address, socklen_t *at) {
  return length > size ? ldp_failed(EFAULT) : recvfrom(fd, data, length, flags, address, at);
}

/* --- out --- */

/* -2: the socket is the kernel's now. */
static ssize_t take_out(int fd, const struct iovec *iov, int count, int flags, const struct sockaddr *address, socklen_t size) {
  struct session *s = ldp_session(fd);
  if (s == NULL) return -2;
  return s->datagram ? datagram_out(fd, iov, count, flags, address, size) : move_out(fd, iov, count, flags);
}

ssize_t write(int fd, const void *data, size_t length) {
  ssize_t n = ldp_is_session(fd) ? take_out(fd, &(struct iovec){(void *)data, length}, 1, 0, NULL, 0) : -2;
  return n == -2 ? LIBC(write)(fd, data, length) : n;
}

ssize_t writev(int fd, const struct iovec *iov, int count) {
  if (ldp_is_session(fd) && bad_count(count)) return ldp_failed(EINVAL);
  ssize_t n = ldp_is_session(fd) ? take_out(fd, iov, count, 0, NULL, 0) : -2;
  return n == -2 ? LIBC(writev)(fd, iov, count) : n;
}

ssize_t send(int fd, const void *data, size_t length, int flags) {
  ssize_t n = ldp_is_session(fd) ? take_out(fd, &(struct iovec){(void *)data, length}, 1, flags, NULL, 0) : -2;
  return n == -2 ? LIBC(send)(fd, data, length, flags) : n;
}

ssize_t sendto(int fd, const void *data, size_t length, int flags, const struct sockaddr *address, socklen_t size) {
  ssize_t n = ldp_is_session(fd) ? take_out(fd, &(struct iovec){(void *)data, length}, 1, flags, address, size) : -2;
  return n == -2 ? LIBC(sendto)(fd, data, length, flags, address, size) : n;
}

/* Another program could do nothing with it. */
static bool passes_session(const struct msghdr *message) {
  for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c != NULL; c = CMSG_NXTHDR((struct msghdr *)message, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    for (size_t at = 0; at + sizeof(int) <= c->cmsg_len - CMSG_LEN(0); at += sizeof(int)) {
      int fd;
      memcpy(&fd, CMSG_DATA(c) + at, sizeof fd);
      if (ldp_is_session(fd)) return true;
    }
  }
  return false;
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
  if (!ldp_is_session(fd) && message != NULL && message->msg_controllen > 0 && passes_session(message)) return ldp_failed(EOPNOTSUPP);
  if (ldp_is_session(fd) && message->msg_iovlen > IOV_MAX) return ldp_failed(EMSGSIZE);
  ssize_t n = -2;
  if (ldp_is_session(fd)) n = take_out(fd, message->msg_iov, message->msg_iovlen, flags, message->msg_name, message->msg_namelen);
  return n == -2 ? LIBC(sendmsg)(fd, message, flags) : n;
}

int sendmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags) {
  if (!ldp_is_session(fd)) return LIBC(sendmmsg)(fd, messages, count, flags);
  unsigned done = 0;
  for (; done < count; done++) {
    ssize_t n = sendmsg(fd, &messages[done].msg_hdr, flags);
    if (n < 0) break;
    messages[done].msg_len = n;
  }
  return done > 0 || count == 0 ? (int)done : -1;
}

/* --- from file to session and between session and pipe --- */

/* Waits until the session takes something; how much, or a negative errno. */
static ssize_t wait_room(int fd, int flags) {
  struct patience patience = {.fd = fd, .option = SO_SNDTIMEO, .flags = flags};
  ssize_t room = 0;
  int error = 0;
  vcl_lock();
  struct session *s = ldp_session(fd);
  if (s != NULL) share_wait(s);
  while (error == 0 && (s = ldp_session(fd)) != NULL) {
    if (s->error != 0 || s->state != SESSION_READY || s->write_shut || s->peer_closed) {
      room = s->error != 0 ? -s->error : s->state == SESSION_READY ? -EPIPE : s->state == SESSION_CONNECTING ? -EAGAIN : -ENOTCONN;
      if (room != -EAGAIN) break;
    } else if ((room = session_room(s)) > 0) break;
    error = wait_more(&patience);
  }
  vcl_unlock();
  if (s == NULL) return -EBADF;
  return error != 0 && room <= 0 ? -error : room;
}

/* As the kernel's: moves what there is room for, in one go when the socket does not block. */
ssize_t sendfile(int to, int from, off_t *offset, size_t length) {
  if (!ldp_is_session(to) && !ldp_is_session(from)) return LIBC(sendfile)(to, from, offset, length);
  if (ldp_is_session(from) || ldp_session(to)->datagram) return ldp_failed(EINVAL);
  char data[PIECE];
  ssize_t done = 0;
  if (length > MAX_SENDFILE) length = MAX_SENDFILE;
  while ((size_t)done < length) {
    ssize_t room = wait_room(to, done > 0 ? MSG_DONTWAIT : 0);
    if (room < 0 && done > 0) break;
    if (room == -EPIPE) raise(SIGPIPE);
    if (room < 0) return ldp_failed(-room);
    size_t want = length - done < sizeof data ? length - done : sizeof data;
    if (want > (size_t)room) want = room;
    /* No more than there is room for: a pipe does not take back what was read from it. */
    ssize_t got = offset != NULL ? pread(from, data, want, *offset) : LIBC(read)(from, data, want);
    if (got < 0 && done == 0) return -1;
    if (got <= 0) break;
    ssize_t sent = move_out(to, &(struct iovec){data, got}, 1, offset != NULL ? MSG_DONTWAIT : 0);
    if (sent > 0) {
      done += sent;
      if (offset != NULL) *offset += sent;
      else if (sent < got && lseek(from, sent - got, SEEK_CUR) < 0) break;
    }
    if (sent < got) {
      if (sent < 0 && offset == NULL) lseek(from, -got, SEEK_CUR);
      if (sent < 0 && done == 0) return -1;
      break;
    }
  }
  return done;
}

ssize_t sendfile64(int to, int from, off64_t *offset, size_t length) { return sendfile(to, from, (off_t *)offset, length); }

/* From the session to a pipe: only what the pipe takes is taken. */
static ssize_t splice_in(int from, int to, size_t length, int flags) {
  char data[PIECE];
  ssize_t seen = move_in(from, &(struct iovec){data, length < sizeof data ? length : sizeof data}, 1,
                         MSG_PEEK | ((flags & SPLICE_F_NONBLOCK) != 0 ? MSG_DONTWAIT : 0));
  if (seen <= 0) return seen;
  ssize_t n = LIBC(write)(to, data, seen);
  return n <= 0 ? n : move_in(from, &(struct iovec){data, n}, 1, MSG_WAITALL);
}

static ssize_t splice_out(int from, int to, size_t length, int flags) {
  char data[PIECE];
  ssize_t room = wait_room(to, (flags & SPLICE_F_NONBLOCK) != 0 ? MSG_DONTWAIT : 0);
  if (room == -EPIPE) raise(SIGPIPE);
  if (room < 0) return ldp_failed(-room);
  size_t want = length < sizeof data ? length : sizeof data;
  if (want > (size_t)room) want = room;
  struct pollfd ready = {.fd = from, .events = POLLIN};
  if ((flags & SPLICE_F_NONBLOCK) != 0 && poll(&ready, 1, 0) == 0) return ldp_failed(EAGAIN);
  ssize_t n = LIBC(read)(from, data, want);
  if (n <= 0) return n;
  for (ssize_t done = 0, sent; done < n; done += sent)
    if ((sent = move_out(to, &(struct iovec){data + done, n - done}, 1, 0)) <= 0) return done > 0 ? done : sent;
  return n;
}

ssize_t splice(int from, off64_t *from_at, int to, off64_t *to_at, size_t length, unsigned flags) {
  if (!ldp_is_session(from) && !ldp_is_session(to)) return LIBC(splice)(from, from_at, to, to_at, length, flags);
  if ((ldp_is_session(from) ? to_at : from_at) != NULL) return ldp_failed(ESPIPE);
  if (from_at != NULL || to_at != NULL) return ldp_failed(EINVAL);
  struct stat pipe;
  if (fstat(ldp_is_session(from) ? to : from, &pipe) != 0 || !S_ISFIFO(pipe.st_mode)) return ldp_failed(EINVAL);
  return ldp_is_session(from) ? splice_in(from, to, length, flags) : splice_out(from, to, length, flags);
}
