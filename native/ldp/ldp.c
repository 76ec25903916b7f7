/*
 * The socket calls of libc, for programs that do not know of the host stack. (VPP: LDP.) Stream and datagram sockets of AF_INET and AF_INET6
 * become sessions; where they are to go is decided when they are bound, connected or listened on (ldp_rules.c). Each session has a kernel
 * socket that is not connected: its number is the program's descriptor, options and O_NONBLOCK are kept by it, and when a rule says so the
 * session goes away and the kernel's socket is all there is.
 *
 * Left out: MSG_OOB, sessions sent to other programs, SO_REUSEPORT between programs. One lock per process.
 */
#define _GNU_SOURCE
#include "ldp.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

struct session *ldp_by_fd[MAX_FDS];

DECLARE_LIBC(socket);
DECLARE_LIBC(close);
DECLARE_LIBC(connect);
DECLARE_LIBC(bind);
DECLARE_LIBC(listen);
DECLARE_LIBC(accept4);
DECLARE_LIBC(shutdown);
DECLARE_LIBC(getsockopt);
DECLARE_LIBC(getsockname);
DECLARE_LIBC(getpeername);

void *ldp_libc(const char *name) { return dlsym(RTLD_NEXT, name); }

__attribute__((constructor)) static void start(void) { pthread_atfork(worker_before_fork, worker_forked, worker_after_fork); }

int kernel_close(int fd) {
  ldp_disown(fd);
  return LIBC(close)(fd);
}

int ldp_failed(int error) {
  errno = error;
  return -1;
}

void ldp_set(int fd, struct session *session) { __atomic_store_n(&ldp_by_fd[fd], session, __ATOMIC_RELEASE); }

bool ldp_is_blocking(int fd) { return (fcntl(fd, F_GETFL) & O_NONBLOCK) == 0; }

int ldp_timeout_of(int fd, int option) {
  struct timeval value = {0};
  socklen_t size = sizeof value;
  if (LIBC(getsockopt)(fd, SOL_SOCKET, option, &value, &size) != 0 || (value.tv_sec == 0 && value.tv_usec == 0)) return -1;
  return value.tv_sec * 1000 + (value.tv_usec + 999) / 1000;
}

/* --- addresses --- */

bool ldp_read_address(struct endpoint *e, const struct sockaddr *from, socklen_t length) {
  memset(e, 0, sizeof *e);
  if (from == NULL) return false;
  if (from->sa_family == AF_INET && length >= sizeof(struct sockaddr_in)) {
    const struct sockaddr_in *in = (const struct sockaddr_in *)from;
    e->is_v4 = true;
    e->words[0] = ntohl(in->sin_addr.s_addr);
    e->port = ntohs(in->sin_port);
    return true;
  }
  if (from->sa_family != AF_INET6 || length < 24) return false;
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

socklen_t ldp_kernel_address(const struct endpoint *e, int family, struct sockaddr_storage *to) {
  memset(to, 0, sizeof *to);
  if (family == AF_INET) {
    struct sockaddr_in *in = (struct sockaddr_in *)to;
    *in = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(e->port), .sin_addr.s_addr = htonl(e->words[0])};
    return sizeof *in;
  }
  struct sockaddr_in6 *in = (struct sockaddr_in6 *)to;
  uint32_t words[4] = {0, 0, htonl(0xffff), htonl(e->words[0])};
  if (e->is_v4 && e->words[0] == 0) words[2] = 0;
  for (int i = 0; i < 4 && !e->is_v4; i++) words[i] = htonl(e->words[i]);
  in->sin6_family = AF_INET6;
  in->sin6_port = htons(e->port);
  memcpy(&in->sin6_addr, words, sizeof words);
  return sizeof *in;
}

void ldp_write_address(const struct endpoint *e, int family, struct sockaddr *to, socklen_t *length) {
  struct sockaddr_storage address;
  if (to == NULL || length == NULL) return;
  socklen_t size = ldp_kernel_address(e, family, &address);
  memcpy(to, &address, *length < size ? *length : size);
  *length = size;
}

/* --- to the kernel --- */

void ldp_release(struct session *s) {
  if (s->fds == 1) ldp_set(s->fd, NULL);
  else
    for (int fd = 0; fd < MAX_FDS; fd++)
      if (ldp_by_fd[fd] == s) ldp_set(fd, NULL);
  ldp_epoll_to_kernel(s);
  session_close(s);
}

static bool is_not_there(int error) {
  return error == ECONNREFUSED || error == ENETUNREACH || error == EHOSTUNREACH || error == EACCES || error == ENETDOWN ||
         error == EADDRNOTAVAIL;
}

static bool has_address(const struct endpoint *e) {
  return e->port != 0 || e->words[0] != 0 || e->words[1] != 0 || e->words[2] != 0 || e->words[3] != 0;
}

/* What was bound on the stack only. 0, or an errno. */
static int bind_in_kernel(struct session *s) {
  struct sockaddr_storage address;
  if (s->kernel_bound || s->state == SESSION_CREATED || !has_address(&s->local)) return 0;
  socklen_t size = ldp_kernel_address(&s->local, s->family, &address);
  if (LIBC(bind)(s->fd, (struct sockaddr *)&address, size) != 0) return errno;
  s->kernel_bound = true;
  return 0;
}

bool ldp_to_kernel(struct session *s, int error) {
  struct sockaddr_storage address;
  if (!is_not_there(error) || bind_in_kernel(s) != 0) return false;
  socklen_t size = ldp_kernel_address(&s->remote, s->family, &address);
  if (LIBC(connect)(s->fd, (struct sockaddr *)&address, size) != 0 && errno != EINPROGRESS) {
    session_fail(s, errno);
    return true;
  }
  ldp_release(s);
  return true;
}

/* --- set-up --- */

int socket(int family, int type, int protocol) {
  int kind = type & ~(SOCK_NONBLOCK | SOCK_CLOEXEC);
  int fd = LIBC(socket)(family, type, protocol);
  if (fd < 0 || fd >= MAX_FDS || (family != AF_INET && family != AF_INET6)) return fd;
  if (kind != SOCK_STREAM && kind != SOCK_DGRAM) return fd;
  if (protocol != 0 && protocol != (kind == SOCK_STREAM ? IPPROTO_TCP : IPPROTO_UDP)) return fd;
  vcl_lock();
  struct session *s = session_create(family, kind == SOCK_DGRAM);
  if (s != NULL) {
    s->fd = fd;
    s->inode = ldp_inode(fd);
    ldp_set(fd, s);
  }
  vcl_unlock();
  if (s != NULL) return fd;
  LIBC(close)(fd);
  return ldp_failed(ENOMEM);
}

int close(int fd) {
  if (ldp_is_internal(fd)) return ldp_failed(EBADF);
  ldp_detach(fd);
  return LIBC(close)(fd);
}

int bind(int fd, const struct sockaddr *address, socklen_t length) {
  if (!ldp_is_session(fd)) return LIBC(bind)(fd, address, length);
  vcl_lock();
  struct session *s = ldp_session(fd);
  struct endpoint local;
  int error = s->state != SESSION_CREATED || !ldp_read_address(&local, address, length) ? EINVAL : 0;
  bool kernel = error == 0 && ldp_decide(false, &local) == TO_KERNEL;
  if (error == 0 && kernel) error = LIBC(bind)(fd, address, length) != 0 ? errno : 0;
  if (error == 0) {
    s->local = local;
    s->state = SESSION_BOUND;
    s->kernel_bound = kernel;
    if (kernel && s->datagram) ldp_release(s);
    else if (s->datagram && (error = datagram_bind(s)) != 0) s->state = SESSION_CREATED;
  }
  vcl_unlock();
  return error == 0 ? 0 : ldp_failed(error);
}

/* Sleeps until the session has another state; false when its descriptor is the kernel's by now, or a signal came. */
static bool wait_answer(int fd, struct session *s, int timeout_ms) {
  int64_t deadline = timeout_ms < 0 ? -1 : ldp_now_ms() + timeout_ms;
  while (ldp_session(fd) == s && s->state == SESSION_CONNECTING && ldp_left_ms(deadline) != 0) {
    if (worker_drain() == 0 && ldp_sleep(NULL, 0, ldp_left_ms(deadline)) < 0 && errno == EINTR) return false;
  }
  return ldp_session(fd) == s;
}

int listen(int fd, int backlog) {
  if (!ldp_is_session(fd)) return LIBC(listen)(fd, backlog);
  vcl_lock();
  struct session *s = ldp_session(fd);
  bool kernel = !s->datagram && s->state <= SESSION_BOUND && (s->kernel_bound || ldp_decide(false, &s->local) == TO_KERNEL);
  int error = s->datagram ? EOPNOTSUPP : 0;
  if (kernel) {
    error = bind_in_kernel(s);
    if (error == 0) ldp_release(s);
  } else if (error == 0) {
    s->inherited = false;
    error = vcl_ready();
    if (error == 0) error = session_listen(s, backlog);
    if (error == 0) wait_answer(fd, s, -1);
    if (error == 0 && s->state != SESSION_LISTENING) error = s->error != 0 ? s->error : ENETDOWN;
    s->error = 0;
    if (error == 0) ldp_note_listener(fd, s);
  }
  vcl_unlock();
  if (error != 0) return ldp_failed(error);
  return kernel ? LIBC(listen)(fd, backlog) : 0;
}

/* 0, an errno, or -1: it is the kernel's. */
static int connect_datagram(struct session *s, const struct endpoint *remote, const struct sockaddr *address) {
  if (address->sa_family == AF_UNSPEC) {
    datagram_disconnect(s);
    return 0;
  }
  enum verdict verdict = ldp_decide(true, remote);
  bool fixed = s->state == SESSION_LISTENING || s->target.port != 0;
  if (verdict == TO_KERNEL && !fixed) {
    ldp_release(s);
    return -1;
  }
  int error = vcl_ready();
  if (error == 0) error = datagram_connect(s, remote);
  if (verdict == TO_AUTO && !fixed && is_not_there(error)) {
    ldp_release(s);
    return -1;
  }
  /* As with the kernel, the next call tells that nobody is there. */
  if (error != ECONNREFUSED) return error;
  s->error = ECONNREFUSED;
  return 0;
}

/* The same for a stream. */
static int connect_stream(int fd, struct session *s, const struct endpoint *remote) {
  enum verdict verdict = ldp_decide(true, remote);
  bool blocking = ldp_is_blocking(fd);
  if (s->state > SESSION_BOUND) return session_connect(s);
  s->remote = *remote;
  int error = verdict == TO_KERNEL ? EHOSTUNREACH : vcl_ready();
  if (error == 0) {
    s->or_kernel = verdict == TO_AUTO && !blocking;
    error = session_connect(s);
    if (error == 0 && !blocking) return EINPROGRESS;
    if (error == 0 && !wait_answer(fd, s, ldp_timeout_of(fd, SO_SNDTIMEO))) return EINTR;
    if (error == 0) error = s->state == SESSION_CONNECTING ? EINPROGRESS : s->error;
    s->error = 0;
    if (s->state != SESSION_READY) s->read_closed = s->peer_closed = false;
  }
  if (verdict == TO_STACK || !is_not_there(error)) return error;
  error = bind_in_kernel(s);
  if (error != 0) return error;
  ldp_release(s);
  return -1;
}

int connect(int fd, const struct sockaddr *address, socklen_t length) {
  if (!ldp_is_session(fd)) return LIBC(connect)(fd, address, length);
  vcl_lock();
  struct session *s = ldp_session(fd);
  struct endpoint remote;
  worker_drain();
  int error = EINVAL;
  if ((s = ldp_session(fd)) == NULL) error = EALREADY;
  else if (address != NULL && length >= sizeof address->sa_family) {
    bool known = ldp_read_address(&remote, address, length) || address->sa_family == AF_UNSPEC;
    error = !known ? EAFNOSUPPORT : s->datagram ? connect_datagram(s, &remote, address) : connect_stream(fd, s, &remote);
  }
  vcl_unlock();
  if (error == -1) return LIBC(connect)(fd, address, length);
  return error == 0 ? 0 : ldp_failed(error);
}

int accept4(int fd, struct sockaddr *address, socklen_t *length, int flags) {
  if (!ldp_is_session(fd)) return LIBC(accept4)(fd, address, length, flags);
  if ((flags & ~(SOCK_NONBLOCK | SOCK_CLOEXEC)) != 0) return ldp_failed(EINVAL);
  vcl_lock();
  struct session *listener = ldp_session(fd), *s = NULL;
  int64_t deadline = -2;
  int error = listener == NULL ? EBADF : listener->datagram ? EOPNOTSUPP : 0, accepted = -1;
  if (error == 0) session_take_up(listener);
  while (error == 0 && (s = session_accept(listener)) == NULL) {
    if (worker_drain() > 0) {
      if ((listener = ldp_session(fd)) == NULL) error = EBADF;
      continue;
    }
    bool waits = listener->state == SESSION_LISTENING || listener->state == SESSION_CONNECTING || listener->inherited;
    if (!waits) error = listener->error != 0 ? listener->error : EINVAL;
    else if (!ldp_is_blocking(fd)) error = EAGAIN;
    else {
      if (deadline == -2) {
        int limit = ldp_timeout_of(fd, SO_RCVTIMEO);
        deadline = limit < 0 ? -1 : ldp_now_ms() + limit;
      }
      if (ldp_left_ms(deadline) == 0) error = EAGAIN;
      else if (ldp_sleep(NULL, 0, ldp_left_ms(deadline)) < 0 && errno == EINTR) error = EINTR;
      else if ((listener = ldp_session(fd)) == NULL) error = EBADF;
    }
  }
  if (s != NULL) {
    accepted = LIBC(socket)(listener->family, SOCK_STREAM | flags, 0);
    if (accepted < 0 || accepted >= MAX_FDS) {
      error = accepted < 0 ? errno : EMFILE;
      if (accepted >= 0) LIBC(close)(accepted);
      session_close(s);
    } else {
      s->fd = accepted;
      s->fds = 1;
      s->inode = ldp_inode(accepted);
      ldp_set(accepted, s);
      ldp_write_address(&s->remote, s->family, address, length);
    }
  }
  vcl_unlock();
  return error == 0 ? accepted : ldp_failed(error);
}

int accept(int fd, struct sockaddr *address, socklen_t *length) { return accept4(fd, address, length, 0); }

int shutdown(int fd, int how) {
  if (!ldp_is_session(fd)) return LIBC(shutdown)(fd, how);
  if (how < SHUT_RD || how > SHUT_RDWR) return ldp_failed(EINVAL);
  vcl_lock();
  struct session *s = ldp_session(fd);
  int error = 0;
  if (s->datagram) {
    error = s->target.port == 0 ? ENOTCONN : 0;
    if (how != SHUT_RD) s->write_shut = true;
    if (how != SHUT_WR) s->read_closed = true;
    session_raise(s, true, true);
  } else if (s->state == SESSION_LISTENING || s->inherited) {
    /* Whoever waits for a connection gets EINVAL. */
    if (s->held && s->inherited) share_close_listener(s);
    s->inherited = false;
    if (how != SHUT_WR) session_unlisten(s);
  } else {
    error = s->state != SESSION_READY ? ENOTCONN : how == SHUT_RD ? 0 : session_shutdown_write(s);
    if (error == 0 && how != SHUT_WR) {
      s->read_closed = true;
      session_raise(s, true, false);
    }
  }
  vcl_unlock();
  return error == 0 ? 0 : ldp_failed(error);
}

/* --- names --- */

int getsockname(int fd, struct sockaddr *address, socklen_t *length) {
  if (!ldp_is_session(fd)) return LIBC(getsockname)(fd, address, length);
  vcl_lock();
  struct session *s = ldp_session(fd);
  struct sockaddr_storage chosen = {0};
  socklen_t size = sizeof chosen;
  bool ask = s->state == SESSION_BOUND && s->local.port == 0 && !s->datagram;
  if (ask && !s->kernel_bound) {
    /* Any port: one that is free in the kernel and stays taken there, so that whoever asks before listen knows it. */
    struct endpoint any = {.is_v4 = s->family == AF_INET};
    socklen_t length_of_any = ldp_kernel_address(&any, s->family, &chosen);
    if (LIBC(bind)(fd, (struct sockaddr *)&chosen, length_of_any) != 0) ask = false;
  }
  struct endpoint known;
  if (ask && LIBC(getsockname)(fd, (struct sockaddr *)&chosen, &size) == 0 &&
      ldp_read_address(&known, (struct sockaddr *)&chosen, size))
    s->local.port = known.port;
  ldp_write_address(&s->local, s->family, address, length);
  vcl_unlock();
  return 0;
}

int getpeername(int fd, struct sockaddr *address, socklen_t *length) {
  if (!ldp_is_session(fd)) return LIBC(getpeername)(fd, address, length);
  vcl_lock();
  struct session *s = ldp_session(fd);
  bool connected = s->datagram ? s->target.port != 0 : s->state == SESSION_READY;
  if (connected) ldp_write_address(s->datagram ? &s->target : &s->remote, s->family, address, length);
  vcl_unlock();
  return connected ? 0 : ldp_failed(ENOTCONN);
}
