/*
 * Descriptors: dup, closing many at once, what the library keeps for itself, and what becomes of sessions in vfork, exec and at the end.
 *
 * Across exec a listener goes on, when its descriptor does: the new program listens at the same address as soon as it uses it (a memfd of
 * the name below says which descriptors are listeners, and of which application). A connection does not: its descriptor is a socket that is not connected.
 */
#define _GNU_SOURCE
#include "ldp.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define LISTENERS "sluice-listeners"
/* Where the library's own descriptors begin, when there are so many. */
#define INTERNAL_FD 512

DECLARE_LIBC(dup);
DECLARE_LIBC(dup2);
DECLARE_LIBC(dup3);
DECLARE_LIBC(fcntl);
DECLARE_LIBC(close_range);
DECLARE_LIBC(_exit);

static uint8_t internal[MAX_FDS];
static pid_t own_pid;

bool ldp_is_internal(int fd) { return fd >= 0 && fd < MAX_FDS && internal[fd]; }

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
  } else ldp_epoll_dup(from, to);
  vcl_unlock();
}

void ldp_detach(int fd) {
  if ((!ldp_is_session(fd) && !ldp_is_epoll(fd)) || ldp_in_vfork()) return;
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
  if ((flags & CLOSE_RANGE_CLOEXEC) != 0 || ldp_in_vfork()) return LIBC(close_range)(first, last, flags);
  for (unsigned fd = first; fd <= last && fd < MAX_FDS; fd++)
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

/* --- across exec --- */

/* In the memfd. The inode tells whether a descriptor is still the socket that it was. */
struct record {
  uint64_t inode;
  int32_t family, is_v4, words[4], port, backlog, v6only;
};

static int listeners_fd = -1;

static uint64_t inode_of(int fd) {
  struct stat status;
  return fstat(fd, &status) == 0 && S_ISSOCK(status.st_mode) ? status.st_ino : 0;
}

void ldp_note_listener(int fd, const struct session *s) {
  struct record r = {.inode = inode_of(fd), .family = s->family, .is_v4 = s->local.is_v4, .port = s->local.port, .backlog = s->backlog,
                     .v6only = s->v6only};
  memcpy(r.words, s->local.words, sizeof r.words);
  if (listeners_fd < 0) {
    int made = memfd_create(LISTENERS, 0);
    if (made < 0) return;
    /* It has to survive exec, and so does not close by itself. */
    listeners_fd = LIBC(fcntl)(made, F_DUPFD, INTERNAL_FD);
    if (listeners_fd >= 0) kernel_close(made);
    else listeners_fd = made;
    if (listeners_fd < MAX_FDS) internal[listeners_fd] = 1;
  }
  struct ticket ticket;
  worker_ticket(&ticket);
  if (pwrite(listeners_fd, &ticket, sizeof ticket, 0) != sizeof ticket) return;
  if (r.inode == 0 || lseek(listeners_fd, 0, SEEK_END) > 1 << 20) return;
  if (write(listeners_fd, &r, sizeof r) != sizeof r) return;
}

/* The descriptor behind an entry of /proc/self/fd that has this target; -1: no such. */
static int find_listeners(DIR *directory) {
  char path[64], target[64];
  for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
    snprintf(path, sizeof path, "/proc/self/fd/%.20s", entry->d_name);
    ssize_t n = readlink(path, target, sizeof target - 1);
    if (n <= 0) continue;
    target[n] = 0;
    if (strncmp(target, "/memfd:" LISTENERS, strlen("/memfd:" LISTENERS)) == 0) return atoi(entry->d_name);
  }
  return -1;
}

static void take_listener(int fd, int from) {
  struct record r;
  uint64_t inode = inode_of(fd);
  for (off_t at = sizeof(struct ticket); inode != 0 && pread(from, &r, sizeof r, at) == sizeof r; at += sizeof r) {
    if (r.inode != inode) continue;
    struct session *s = session_create(r.family, false);
    if (s == NULL) return;
    s->fd = fd;
    s->local.is_v4 = r.is_v4 != 0;
    memcpy(s->local.words, r.words, sizeof s->local.words);
    s->local.port = r.port;
    s->backlog = r.backlog;
    s->v6only = r.v6only != 0;
    s->state = SESSION_BOUND;
    s->inherited = true;
    ldp_set(fd, s);
    return;
  }
}

__attribute__((constructor)) static void inherit(void) {
  own_pid = getpid();
  DIR *directory = opendir("/proc/self/fd");
  if (directory == NULL) return;
  int from = find_listeners(directory);
  if (from >= 0 && from < MAX_FDS) {
    listeners_fd = from;
    internal[from] = 1;
    struct ticket ticket;
    if (pread(from, &ticket, sizeof ticket, 0) == sizeof ticket) worker_use_ticket(&ticket);
    rewinddir(directory);
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
      int fd = atoi(entry->d_name);
      if (fd >= 0 && fd < MAX_FDS && fd != dirfd(directory) && entry->d_name[0] != '.') take_listener(fd, from);
    }
  }
  closedir(directory);
}

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
