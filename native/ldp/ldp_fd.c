/* Descriptors: dup, closing many at once, what the library keeps for itself, and what becomes of sessions in vfork and at the end. */
#define _GNU_SOURCE
#include "ldp.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>


DECLARE_LIBC(dup);
DECLARE_LIBC(dup2);
DECLARE_LIBC(dup3);
DECLARE_LIBC(fcntl);
DECLARE_LIBC(close_range);
DECLARE_LIBC(_exit);

static uint8_t internal[MAX_FDS];
static pid_t own_pid;

bool ldp_is_internal(int fd) { return fd >= 0 && fd < MAX_FDS && internal[fd]; }

void ldp_own(int fd) {
  if (fd >= 0 && fd < MAX_FDS) internal[fd] = 1;
}

int internal_fd(int fd) {
  if (fd < 0) return fd;
  int moved = LIBC(fcntl)(fd, F_DUPFD_CLOEXEC, INTERNAL_FD);
  if (moved >= 0) {
    kernel_close(fd);
    fd = moved;
  }
  if (fd < MAX_FDS) internal[fd] = 1;
  return fd;
}

void ldp_disown(int fd) {
  if (fd >= 0 && fd < MAX_FDS) internal[fd] = 0;
}

bool ldp_in_vfork(void) { return own_pid != 0 && own_pid != getpid(); }

void ldp_forked(void) { own_pid = getpid(); }

pid_t ldp_pid(void) { return own_pid; }

/* --- dup --- */

static void attach_dup(int from, int to) {
  struct session *s = ldp_session(from);
  if (to < 0 || to >= MAX_FDS || ldp_in_vfork()) return;
  vcl_lock();
  if (s != NULL) {
    s->fds++;
    ldp_set(to, s);
    ldp_stdio_follow(to);
  } else ldp_epoll_dup(from, to);
  vcl_unlock();
}

void ldp_detach(int fd) {
  if ((!ldp_is_session(fd) && !ldp_is_epoll(fd)) || ldp_in_vfork()) return;
  ldp_stdio_restore(fd);
  /* The number stays taken meanwhile: close gives it to another thread. */
  vcl_lock();
  struct session *s = ldp_session(fd);
  ldp_epoll_closed(fd);
  if (s != NULL) {
    ldp_set(fd, NULL);
    if (--s->fds == 0) session_close(s);
    else if (s->fd == fd)
      for (s->fd = 0; s->fd < MAX_FDS - 1 && ldp_by_fd[s->fd] != s;) s->fd++;
  }
  vcl_unlock();
}

int dup(int fd) {
  int to = LIBC(dup)(fd);
  if (to >= 0 && (ldp_is_session(fd) || ldp_is_epoll(fd))) attach_dup(fd, to);
  return to;
}

int dup3(int from, int to, int flags) {
  if (ldp_is_internal(to)) return ldp_failed(EBUSY);
  if (from == to) return LIBC(dup3)(from, to, flags);
  if (LIBC(fcntl)(from, F_GETFD) < 0) return -1;
  ldp_detach(to);
  int result = LIBC(dup3)(from, to, flags);
  if (result >= 0 && (ldp_is_session(from) || ldp_is_epoll(from))) attach_dup(from, to);
  return result;
}

int dup2(int from, int to) { return from == to ? LIBC(dup2)(from, to) : dup3(from, to, 0); }

int fcntl64(int fd, int what, ...) {
  va_list list;
  va_start(list, what);
  void *argument = va_arg(list, void *);
  va_end(list);
  int result = LIBC(fcntl)(fd, what, argument);
  if (result >= 0 && (what == F_DUPFD || what == F_DUPFD_CLOEXEC) && (ldp_is_session(fd) || ldp_is_epoll(fd))) attach_dup(fd, result);
  return result;
}

int fcntl(int fd, int what, ...) {
  va_list list;
  va_start(list, what);
  void *argument = va_arg(list, void *);
  va_end(list);
  return fcntl64(fd, what, argument);
}

/* --- many at once --- */

int close_range(unsigned first, unsigned last, int flags) {
  if ((flags & CLOSE_RANGE_CLOEXEC) != 0) return LIBC(close_range)(first, last, flags);
  for (unsigned fd = first; fd <= last && fd < MAX_FDS && !ldp_in_vfork(); fd++)
    if (ldp_is_session(fd) || ldp_is_epoll(fd)) close(fd);
  /* Around what is the library's. */
  unsigned from = first;
  for (unsigned fd = first; fd <= last && fd < MAX_FDS; fd++) {
    if (!internal[fd]) continue;
    if (fd > from && LIBC(close_range)(from, fd - 1, flags) != 0) return -1;
    from = fd + 1;
  }
  return from <= last ? LIBC(close_range)(from, last, flags) : 0;
}

void closefrom(int first) { close_range(first < 0 ? 0 : first, UINT_MAX, 0); }

/* --- the end --- */

__attribute__((destructor)) static void end(void) {
  if (ldp_in_vfork()) return;
  vcl_lock();
  worker_close_all();
  vcl_unlock();
}

void _exit(int status) {
  end();
  LIBC(_exit)(status);
  __builtin_unreachable();
}

void _Exit(int status) { _exit(status); }
