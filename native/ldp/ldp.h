/* Between the parts of the preload library: descriptors (ldp.c, ldp_fd.c), bytes (ldp_io.c), waiting (ldp_wait.c, ldp_epoll.c). */
#ifndef SLUICE_LDP_H
#define SLUICE_LDP_H

#include "vcl.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>

#define MAX_FDS 65536
/* Where the library's own descriptors begin, when there are so many. */
#define INTERNAL_FD 512

/* libc's own function of that name. */
void *ldp_libc(const char *name);
#define LIBC(name) ((__typeof__(&name))ldp_libc_cached(&libc_##name, #name))
static inline void *ldp_libc_cached(void **cache, const char *name) {
  void *found = __atomic_load_n(cache, __ATOMIC_RELAXED);
  if (found == NULL) __atomic_store_n(cache, found = ldp_libc(name), __ATOMIC_RELAXED);
  return found;
}
#define DECLARE_LIBC(name) static void *libc_##name

int ldp_failed(int error);

/* --- descriptors --- */

extern struct session *ldp_by_fd[MAX_FDS];

/* The session that a descriptor stands for, or NULL: then it is the kernel's. Locked or not. */
static inline struct session *ldp_session(int fd) {
  return fd >= 0 && fd < MAX_FDS ? __atomic_load_n(&ldp_by_fd[fd], __ATOMIC_ACQUIRE) : NULL;
}
static inline bool ldp_is_session(int fd) { return ldp_session(fd) != NULL; }
void ldp_set(int fd, struct session *session);
/* A descriptor of the library, which the program cannot close. */
bool ldp_is_internal(int fd);
void ldp_own(int fd);
void ldp_disown(int fd);
void ldp_forked(void);
/* A child of vfork runs in the memory of its parent: what it closes is not closed here. */
bool ldp_in_vfork(void);
/* The descriptor is closed, or replaced by a dup2: what stood behind it ends with its last descriptor. */
void ldp_detach(int fd);
/* The connect of this session is the kernel's now, when `error` says that nobody is there on the stack. */
bool ldp_to_kernel(struct session *session, int error);
/* The descriptors of a session are the kernel's from now on. */
void ldp_release(struct session *session);
bool ldp_is_blocking(int fd);
/* SO_RCVTIMEO or SO_SNDTIMEO, in milliseconds; -1: none. */
int ldp_timeout_of(int fd, int option);
/* A listener may be handed over exec (ldp_exec.c). */
void ldp_note_listener(int fd, const struct session *session);
/* Of a socket; 0: it is none. */
uint64_t ldp_inode(int fd);
/* 0, 1 or 2 is a session now, or is none any more (ldp_stdio.c). */
void ldp_stdio_follow(int fd);
void ldp_stdio_restore(int fd);

bool ldp_read_address(struct endpoint *endpoint, const struct sockaddr *from, socklen_t length);
void ldp_write_address(const struct endpoint *endpoint, int family, struct sockaddr *to, socklen_t *length);
socklen_t ldp_kernel_address(const struct endpoint *endpoint, int family, struct sockaddr_storage *to);

/* --- rules (ldp_rules.c) --- */

enum verdict { TO_STACK, TO_KERNEL, TO_AUTO };
enum verdict ldp_decide(bool connect, const struct endpoint *endpoint);

/* --- waiting --- */

int kernel_epoll_ctl(int epfd, int op, int fd, struct epoll_event *event);
int kernel_epoll_wait(int epfd, struct epoll_event *events, int most, int timeout_ms);
/* With the lock held: sleeps until a bell rings, something is raised, one of `fds` is ready, or the time is over. -1 and EINTR: a signal
 * whose handler asked for that. */
int ldp_sleep(struct pollfd *fds, int count, int timeout_ms);
void ldp_wake_sleepers(void);
/* A thread that sleeps, and what wakes it: gives up the lock, and takes it again. */
struct sleeper {
  int fd;
  struct sleeper *next;
};
void ldp_fall_asleep(struct sleeper *self);
void ldp_awake(struct sleeper *self);
bool ldp_somebody_sleeps(void);
/* After fork: the other threads are not here. */
void ldp_nobody_sleeps(void);
/* After EINTR: some handler is there that does not ask for calls to be restarted. */
bool ldp_interrupted(void);
int64_t ldp_now_ms(void);
/* -1 for no limit. */
int ldp_left_ms(int64_t deadline);

/* --- epoll (ldp_epoll.c) --- */

/* Something has happened to a session that is watched. */
void ldp_epoll_raised(struct session *session);
/* No set watches it any more. */
void ldp_epoll_forget(struct session *session);
/* Watched by the kernel from now on. */
void ldp_epoll_to_kernel(struct session *session);
/* A descriptor is closed that may be that of a set. */
void ldp_epoll_closed(int fd);
bool ldp_is_epoll(int fd);
void ldp_epoll_dup(int from, int to);

#endif
