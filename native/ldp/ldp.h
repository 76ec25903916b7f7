/* Between the socket calls (ldp.c) and the calls that wait (ldp_wait.c). */
#ifndef SLUICE_LDP_H
#define SLUICE_LDP_H

#include "vcl.h"

#include <poll.h>
#include <time.h>

/* libc's own function of that name. */
void *ldp_libc(const char *name);
#define LIBC(name) ((__typeof__(&name))ldp_libc_cached(&libc_##name, #name))
static inline void *ldp_libc_cached(void **cache, const char *name) {
  void *found = __atomic_load_n(cache, __ATOMIC_RELAXED);
  if (found == NULL) __atomic_store_n(cache, found = ldp_libc(name), __ATOMIC_RELAXED);
  return found;
}
#define DECLARE_LIBC(name) static void *libc_##name

/* The session that a descriptor stands for, or NULL: then it is the kernel's. Locked or not. */
struct session *ldp_session(int fd);
bool ldp_is_session(int fd);
/* With the lock held: sleeps until a bell rings, one of `fds` is ready, or the time is over. */
int ldp_sleep(struct pollfd *fds, int count, int timeout_ms);
int64_t ldp_now_ms(void);
/* -1 for no limit. */
int ldp_left_ms(int64_t deadline);
/* A descriptor is closed: epoll sets forget it. */
void ldp_epoll_forget(int fd);
extern bool ldp_has_epolls;

#endif
