/*
 * The socket calls of libc, for programs that do not know of the host stack: stream sockets of AF_INET and AF_INET6 become sessions, all
 * else stays the kernel's. (VPP: LDP.) Each session has a kernel socket that is never connected: its number is the program's descriptor,
 * and options, flags and O_NONBLOCK that mean nothing to a session are kept by the kernel.
 *
 * Left out: datagram sockets, dup of sessions, sessions across exec, MSG_OOB. One lock per process.
 */
#define _GNU_SOURCE
#include "ldp.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define MAX_FDS 65536

static struct session *by_fd[MAX_FDS];

DECLARE_LIBC(socket);
DECLARE_LIBC(close);
DECLARE_LIBC(connect);
DECLARE_LIBC(bind);
DECLARE_LIBC(listen);
DECLARE_LIBC(accept4);
DECLARE_LIBC(read);
DECLARE_LIBC(readv);
DECLARE_LIBC(write);
DECLARE_LIBC(writev);
DECLARE_LIBC(recv);
DECLARE_LIBC(recvfrom);
DECLARE_LIBC(recvmsg);
DECLARE_LIBC(send);
DECLARE_LIBC(sendto);
DECLARE_LIBC(sendmsg);
DECLARE_LIBC(sendfile);
DECLARE_LIBC(shutdown);
DECLARE_LIBC(getsockname);
DECLARE_LIBC(getpeername);
DECLARE_LIBC(getsockopt);
DECLARE_LIBC(setsockopt);
DECLARE_LIBC(ioctl);

void *ldp_libc(const char *name) { return dlsym(RTLD_NEXT, name); }

struct session *ldp_session(int fd) { return fd >= 0 && fd < MAX_FDS ? __atomic_load_n(&by_fd[fd], __ATOMIC_ACQUIRE) : NULL; }

bool ldp_is_session(int fd) { return ldp_session(fd) != NULL; }

__attribute__((constructor)) static void start(void) { pthread_atfork(NULL, NULL, worker_after_fork); }

int kernel_close(int fd) { return LIBC(close)(fd); }

static int failed(int error) {
  errno = error;
  return -1;
}

static bool is_blocking(int fd) { return (fcntl(fd, F_GETFL) & O_NONBLOCK) == 0; }

/* SO_RCVTIMEO or SO_SNDTIMEO of the kernel socket, in milliseconds; -1: none. */
static int timeout_of(int fd, int option) {
  struct timeval value = {0};
  socklen_t size = sizeof value;
  if (LIBC(getsockopt)(fd, SOL_SOCKET, option, &value, &size) != 0 || (value.tv_sec == 0 && value.tv_usec == 0)) return -1;
  return value.tv_sec * 1000 + value.tv_usec / 1000;
}

/* --- addresses --- */

static bool read_address(struct endpoint *e, const struct sockaddr *from, socklen_t length) {
  memset(e, 0, sizeof *e);
  if (from->sa_family == AF_INET && length >= sizeof(struct sockaddr_in)) {
    const struct sockaddr_in *in = (const struct sockaddr_in *)from;
    e->is_v4 = true;
    e->words[0] = ntohl(in->sin_addr.s_addr);
    e->port = ntohs(in->sin_port);
    return true;
  }
  if (from->sa_family != AF_INET6 || length < sizeof(struct sockaddr_in6)) return false;
  const struct sockaddr_in6 *in = (const struct sockaddr_in6 *)from;
  uint32_t words[4];
  memcpy(words, &in->sin6_addr, sizeof words);
  e->port = ntohs(in->sin6_port);
  e->is_v4 = IN6_IS_ADDR_V4MAPPED(&in->sin6_addr);
  for (int i = 0; i < 4; i++) e->words[i] = ntohl(words[i]);
  if (e->is_v4) {
    e->words[0] = e->words[3];
    e->words[1] = e->words[2] = e->words[3] = 0;
  }
  return true;
}

static void write_address(const struct endpoint *e, int family, struct sockaddr *to, socklen_t *length) {
  union {
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
  } address;
  socklen_t size = family == AF_INET ? sizeof address.v4 : sizeof address.v6;
  if (to == NULL || length == NULL) return;
  memset(&address, 0, sizeof address);
  if (family == AF_INET) {
    address.v4 = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(e->port), .sin_addr.s_addr = htonl(e->words[0])};
  } else {
    uint32_t words[4] = {0, 0, htonl(0xffff), htonl(e->words[0])};
    if (e->is_v4 && e->words[0] == 0) words[2] = 0;
    for (int i = 0; i < 4 && !e->is_v4; i++) words[i] = htonl(e->words[i]);
    address.v6.sin6_family = AF_INET6;
    address.v6.sin6_port = htons(e->port);
    memcpy(&address.v6.sin6_addr, words, sizeof words);
  }
  memcpy(to, &address, *length < size ? *length : size);
  *length = size;
}

/* --- set-up --- */

int socket(int family, int type, int protocol) {
  int kind = type & ~(SOCK_NONBLOCK | SOCK_CLOEXEC);
  int fd = LIBC(socket)(family, type, protocol);
  if (fd < 0 || fd >= MAX_FDS || kind != SOCK_STREAM || (family != AF_INET && family != AF_INET6)) return fd;
  if (protocol != 0 && protocol != IPPROTO_TCP) return fd;
  vcl_lock();
  int error = vcl_ready();
  struct session *s = error == 0 ? session_create(fd, family) : NULL;
  if (s != NULL) __atomic_store_n(&by_fd[fd], s, __ATOMIC_RELEASE);
  vcl_unlock();
  if (s != NULL) return fd;
  LIBC(close)(fd);
  return failed(error != 0 ? error : ENOMEM);
}

int close(int fd) {
  if (ldp_is_session(fd) || ldp_has_epolls) {
    vcl_lock();
    struct session *s = ldp_session(fd);
    ldp_epoll_forget(fd);
    if (s != NULL) {
      by_fd[fd] = NULL;
      session_close(s);
    }
    vcl_unlock();
  }
  return LIBC(close)(fd);
}

int bind(int fd, const struct sockaddr *address, socklen_t length) {
  if (!ldp_is_session(fd)) return LIBC(bind)(fd, address, length);
  vcl_lock();
  struct session *s = ldp_session(fd);
  int error = s->state != SESSION_CREATED || !read_address(&s->local, address, length) ? EINVAL : 0;
  if (error == 0) s->state = SESSION_BOUND;
  vcl_unlock();
  return error == 0 ? 0 : failed(error);
}

/* Sleeps until the session is in another state. */
static void wait_answer(struct session *s, int timeout_ms) {
  int64_t deadline = timeout_ms < 0 ? -1 : ldp_now_ms() + timeout_ms;
  while (s->state == SESSION_CONNECTING && ldp_left_ms(deadline) != 0) {
    if (worker_drain() == 0) ldp_sleep(NULL, 0, ldp_left_ms(deadline));
  }
}

int listen(int fd, int backlog) {
  if (!ldp_is_session(fd)) return LIBC(listen)(fd, backlog);
  vcl_lock();
  struct session *s = ldp_session(fd);
  s->inherited = false;
  int error = vcl_ready();
  if (error == 0) error = session_listen(s, backlog);
  if (error == 0) wait_answer(s, -1);
  if (error == 0 && s->state != SESSION_LISTENING) error = s->error != 0 ? s->error : ENETDOWN;
  if (error != 0) s->error = 0;
  vcl_unlock();
  return error == 0 ? 0 : failed(error);
}

int connect(int fd, const struct sockaddr *address, socklen_t length) {
  if (!ldp_is_session(fd)) return LIBC(connect)(fd, address, length);
  vcl_lock();
  struct session *s = ldp_session(fd);
  struct endpoint remote;
  worker_drain();
  int error = !read_address(&remote, address, length) ? EAFNOSUPPORT : 0;
  if (error == 0 && s->state <= SESSION_BOUND) s->remote = remote;
  if (error == 0) error = session_connect(s);
  if (error == 0 && !is_blocking(fd)) error = EINPROGRESS;
  else if (error == 0) {
    wait_answer(s, timeout_of(fd, SO_SNDTIMEO));
    error = s->state == SESSION_CONNECTING ? EINPROGRESS : s->error;
    s->error = 0;
  }
  vcl_unlock();
  return error == 0 ? 0 : failed(error);
}

int accept4(int fd, struct sockaddr *address, socklen_t *length, int flags) {
  if (!ldp_is_session(fd)) return LIBC(accept4)(fd, address, length, flags);
  vcl_lock();
  struct session *listener = ldp_session(fd);
  session_take_up(listener);
  bool blocking = is_blocking(fd);
  int64_t deadline = -1;
  int error = 0, accepted = -1;
  struct session *s = NULL;
  while (error == 0 && (s = session_accept(listener)) == NULL) {
    if (listener->state == SESSION_CONNECTING) wait_answer(listener, -1);
    if (listener->state != SESSION_LISTENING) error = listener->error != 0 ? listener->error : EINVAL;
    else if (worker_drain() > 0) continue;
    else if (!blocking) error = EAGAIN;
    else ldp_sleep(NULL, 0, ldp_left_ms(deadline));
  }
  if (s != NULL) {
    accepted = LIBC(socket)(listener->family, SOCK_STREAM | (flags & (SOCK_NONBLOCK | SOCK_CLOEXEC)), 0);
    if (accepted < 0 || accepted >= MAX_FDS) {
      error = accepted < 0 ? errno : EMFILE;
      if (accepted >= 0) LIBC(close)(accepted);
      session_close(s);
    } else {
      s->fd = accepted;
      __atomic_store_n(&by_fd[accepted], s, __ATOMIC_RELEASE);
      write_address(&s->remote, s->family, address, length);
    }
  }
  vcl_unlock();
  return error == 0 ? accepted : failed(error);
}

int accept(int fd, struct sockaddr *address, socklen_t *length) { return accept4(fd, address, length, 0); }

int shutdown(int fd, int how) {
  if (!ldp_is_session(fd)) return LIBC(shutdown)(fd, how);
  vcl_lock();
  struct session *s = ldp_session(fd);
  int error = s->state != SESSION_READY ? ENOTCONN : how == SHUT_RD ? 0 : session_shutdown_write(s);
  if (error == 0 && how != SHUT_WR) s->read_closed = true;
  vcl_unlock();
  return error == 0 ? 0 : failed(error);
}

/* --- bytes --- */

static ssize_t move_in(int fd, const struct iovec *iov, int count, int flags) {
  vcl_lock();
  struct session *s = ldp_session(fd);
  bool blocking = (flags & MSG_DONTWAIT) == 0 && is_blocking(fd);
  int limit = blocking ? timeout_of(fd, SO_RCVTIMEO) : 0;
  int64_t deadline = limit < 0 ? -1 : ldp_now_ms() + limit;
  ssize_t done = 0, n = 0;
  for (int i = 0; i < count && s != NULL;) {
    size_t have = i == 0 && done > 0 && (flags & MSG_WAITALL) ? done : 0;
    n = session_read(s, (char *)iov[i].iov_base + have, iov[i].iov_len - have, (flags & MSG_PEEK) != 0);
    if (n > 0) done += n;
    if (n > 0 && have + n == iov[i].iov_len) {
      if ((flags & MSG_PEEK) != 0) break;
      i++;
      continue;
    }
    bool enough = done > 0 && ((flags & MSG_WAITALL) == 0 || count > 1);
    if ((n < 0 && n != -EAGAIN) || (n == 0 && iov[i].iov_len > have) || enough) break;
    if (worker_drain() > 0) continue;
    if (!blocking || ldp_left_ms(deadline) == 0) break;
    ldp_sleep(NULL, 0, ldp_left_ms(deadline));
    s = ldp_session(fd);
  }
  if (done == 0 && n < 0 && s != NULL && n != -EAGAIN) s->error = 0;
  vcl_unlock();
  return done > 0 ? done : s == NULL ? failed(EBADF) : n < 0 ? failed(-n) : 0;
}

static ssize_t move_out(int fd, const struct iovec *iov, int count, int flags) {
  vcl_lock();
  struct session *s = ldp_session(fd);
  bool blocking = (flags & MSG_DONTWAIT) == 0 && is_blocking(fd);
  int limit = blocking ? timeout_of(fd, SO_SNDTIMEO) : 0;
  int64_t deadline = limit < 0 ? -1 : ldp_now_ms() + limit;
  ssize_t done = 0, n = 0;
  size_t within = 0;
  for (int i = 0; i < count && s != NULL;) {
    n = session_write(s, (const char *)iov[i].iov_base + within, iov[i].iov_len - within);
    if (n >= 0) {
      done += n;
      within += n;
      if (within == iov[i].iov_len) {
        i++;
        within = 0;
        continue;
      }
    } else if (n != -EAGAIN) break;
    if (worker_drain() > 0) continue;
    if (!blocking || ldp_left_ms(deadline) == 0) break;
    ldp_sleep(NULL, 0, ldp_left_ms(deadline));
    s = ldp_session(fd);
  }
  vcl_unlock();
  if (done > 0 || (s != NULL && n >= 0)) return done;
  if (n == -EPIPE && (flags & MSG_NOSIGNAL) == 0) raise(SIGPIPE);
  return failed(s == NULL ? EBADF : -n);
}

ssize_t read(int fd, void *data, size_t length) {
  if (!ldp_is_session(fd)) return LIBC(read)(fd, data, length);
  return move_in(fd, &(struct iovec){data, length}, 1, 0);
}

ssize_t readv(int fd, const struct iovec *iov, int count) {
  return ldp_is_session(fd) ? move_in(fd, iov, count, 0) : LIBC(readv)(fd, iov, count);
}

ssize_t recv(int fd, void *data, size_t length, int flags) {
  if (!ldp_is_session(fd)) return LIBC(recv)(fd, data, length, flags);
  return move_in(fd, &(struct iovec){data, length}, 1, flags);
}

ssize_t recvfrom(int fd, void *data, size_t length, int flags, struct sockaddr *address, socklen_t *size) {
  if (!ldp_is_session(fd)) return LIBC(recvfrom)(fd, data, length, flags, address, size);
  if (size != NULL) *size = 0;
  return move_in(fd, &(struct iovec){data, length}, 1, flags);
}

ssize_t recvmsg(int fd, struct msghdr *message, int flags) {
  if (!ldp_is_session(fd)) return LIBC(recvmsg)(fd, message, flags);
  message->msg_namelen = message->msg_controllen = message->msg_flags = 0;
  return move_in(fd, message->msg_iov, message->msg_iovlen, flags);
}

ssize_t __read_chk(int fd, void *data, size_t length, size_t size) { return length > size ? failed(EFAULT) : read(fd, data, length); }

ssize_t __recv_chk(int fd, void *data, size_t length, size_t size, int flags) {
  return length > size ? failed(EFAULT) : recv(fd, data, length, flags);
}

ssize_t __recvfrom_chk(int fd, void *data, size_t length, size_t size, int flags, struct sockaddr *address, socklen_t *at) {
  return length > size ? failed(EFAULT) : recvfrom(fd, data, length, flags, address, at);
}

ssize_t write(int fd, const void *data, size_t length) {
  if (!ldp_is_session(fd)) return LIBC(write)(fd, data, length);
  return move_out(fd, &(struct iovec){(void *)data, length}, 1, 0);
}

ssize_t writev(int fd, const struct iovec *iov, int count) {
  return ldp_is_session(fd) ? move_out(fd, iov, count, 0) : LIBC(writev)(fd, iov, count);
}

ssize_t send(int fd, const void *data, size_t length, int flags) {
  if (!ldp_is_session(fd)) return LIBC(send)(fd, data, length, flags);
  return move_out(fd, &(struct iovec){(void *)data, length}, 1, flags);
}

ssize_t sendto(int fd, const void *data, size_t length, int flags, const struct sockaddr *address, socklen_t size) {
  if (!ldp_is_session(fd)) return LIBC(sendto)(fd, data, length, flags, address, size);
  return move_out(fd, &(struct iovec){(void *)data, length}, 1, flags);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
  if (!ldp_is_session(fd)) return LIBC(sendmsg)(fd, message, flags);
  return move_out(fd, message->msg_iov, message->msg_iovlen, flags);
}

ssize_t sendfile(int to, int from, off_t *offset, size_t length) {
  if (!ldp_is_session(to)) return LIBC(sendfile)(to, from, offset, length);
  char data[65536];
  off_t at = offset != NULL ? *offset : lseek(from, 0, SEEK_CUR);
  ssize_t got = pread(from, data, length < sizeof data ? length : sizeof data, at);
  if (got <= 0) return got;
  ssize_t sent = move_out(to, &(struct iovec){data, got}, 1, MSG_NOSIGNAL);
  if (sent <= 0) return sent;
  if (offset != NULL) *offset = at + sent;
  else lseek(from, at + sent, SEEK_SET);
  return sent;
}

ssize_t sendfile64(int to, int from, off64_t *offset, size_t length) { return sendfile(to, from, (off_t *)offset, length); }

/* --- what a program asks a socket --- */

int getsockname(int fd, struct sockaddr *address, socklen_t *length) {
  if (!ldp_is_session(fd)) return LIBC(getsockname)(fd, address, length);
  vcl_lock();
  struct session *s = ldp_session(fd);
  write_address(&s->local, s->family, address, length);
  vcl_unlock();
  return 0;
}

int getpeername(int fd, struct sockaddr *address, socklen_t *length) {
  if (!ldp_is_session(fd)) return LIBC(getpeername)(fd, address, length);
  vcl_lock();
  struct session *s = ldp_session(fd);
  bool connected = s->state == SESSION_READY;
  if (connected) write_address(&s->remote, s->family, address, length);
  vcl_unlock();
  return connected ? 0 : failed(ENOTCONN);
}

int getsockopt(int fd, int level, int name, void *value, socklen_t *length) {
  if (!ldp_is_session(fd) || level != SOL_SOCKET || (name != SO_ERROR && name != SO_ACCEPTCONN)) {
    if (!ldp_is_session(fd) || level != IPPROTO_TCP || name != TCP_INFO) return LIBC(getsockopt)(fd, level, name, value, length);
    int result = LIBC(getsockopt)(fd, level, name, value, length);
    if (result == 0 && *length > 0) *(uint8_t *)value = 1; /* TCP_ESTABLISHED */
    return result;
  }
  if (*length < sizeof(int)) return failed(EINVAL);
  vcl_lock();
  struct session *s = ldp_session(fd);
  worker_drain();
  *(int *)value = name == SO_ERROR ? s->error : s->state == SESSION_LISTENING;
  /* Reading the error of a failed connect clears it, as the kernel does. */
  if (name == SO_ERROR) s->error = 0;
  *length = sizeof(int);
  vcl_unlock();
  return 0;
}

int setsockopt(int fd, int level, int name, const void *value, socklen_t length) {
  struct session *s = ldp_session(fd);
  if (s != NULL && level == IPPROTO_IPV6 && name == IPV6_V6ONLY && length >= sizeof(int)) s->v6only = *(const int *)value != 0;
  return LIBC(setsockopt)(fd, level, name, value, length);
}

int ioctl(int fd, unsigned long what, ...) {
  va_list list;
  va_start(list, what);
  void *argument = va_arg(list, void *);
  va_end(list);
  if (what != FIONREAD || !ldp_is_session(fd)) return LIBC(ioctl)(fd, what, argument);
  vcl_lock();
  struct session *s = ldp_session(fd);
  *(int *)argument = s->end == NULL ? 0 : fifo_used(&s->rx);
  vcl_unlock();
  return 0;
}
