/*
 * The calls that wait: sleeping, poll and select, over sessions and kernel descriptors together. Whoever waits looks at its sessions, arms
 * the bells and then sleeps in the kernel on bells and descriptors. Several threads may sleep; the one that handles what has come wakes the
 * others. (epoll: ldp_epoll.c.)
 */
#define _GNU_SOURCE
#include "ldp.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <unistd.h>

/* More need memory. */
#define FEW 256

DECLARE_LIBC(poll);
DECLARE_LIBC(ppoll);
DECLARE_LIBC(select);
DECLARE_LIBC(pselect);

int64_t ldp_now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int ldp_left_ms(int64_t deadline) {
  if (deadline < 0) return -1;
  int64_t left = deadline - ldp_now_ms();
  return left < 0 ? 0 : left > 0x7fffffff ? 0x7fffffff : left;
}

bool ldp_interrupted(void) {
  struct sigaction action;
  for (int i = 1; i < NSIG; i++)
    if (sigaction(i, NULL, &action) == 0 && action.sa_handler != SIG_DFL && action.sa_handler != SIG_IGN &&
        (action.sa_flags & SA_RESTART) == 0)
      return true;
  return false;
}

/* --- sleeping --- */

/* Threads that sleep, each with what wakes it. */
static struct sleeper *sleepers;
static __thread int own_fd = -1;
static __thread pid_t own_pid;
static pthread_key_t at_thread_end;

void ldp_wake_sleepers(void) {
  uint64_t one = 1;
  for (struct sleeper *s = sleepers; s != NULL; s = s->next)
    if (write(s->fd, &one, sizeof one) < 0) continue;
}

void ldp_fall_asleep(struct sleeper *self) {
  /* Who sleeps already hears of what was raised here; this thread has looked. */
  vcl_tell();
  self->next = sleepers;
  sleepers = self;
  vcl_unlock();
}

void ldp_awake(struct sleeper *self) {
  vcl_lock();
  for (struct sleeper **at = &sleepers; *at != NULL; at = &(*at)->next) {
    if (*at != self) continue;
    *at = self->next;
    break;
  }
}

bool ldp_somebody_sleeps(void) { return sleepers != NULL; }

void ldp_nobody_sleeps(void) { sleepers = NULL; }

static void end_thread(void *fd) { kernel_close((int)(intptr_t)fd - 1); }

__attribute__((constructor)) static void make_key(void) { pthread_key_create(&at_thread_end, end_thread); }

static int wake_fd(void) {
  if (own_fd < 0 || own_pid != ldp_pid()) {
    own_fd = internal_fd(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
    own_pid = ldp_pid();
    pthread_setspecific(at_thread_end, (void *)(intptr_t)(own_fd + 1));
  }
  return own_fd;
}

int ldp_sleep(struct pollfd *fds, int count, int timeout_ms) {
  struct pollfd few[FEW + 2], *all = few;
  uint64_t sink;
  if (count > FEW && (all = malloc((count + 2) * sizeof *all)) == NULL) {
    errno = ENOMEM;
    return -1;
  }
  if (!worker_arm()) timeout_ms = 0;
  int patience = worker_patience(), bells = worker_bells();
  if (patience >= 0 && (timeout_ms < 0 || timeout_ms > patience)) timeout_ms = patience;
  if (count > 0) memcpy(all, fds, count * sizeof *all);
  all[count] = (struct pollfd){.fd = bells, .events = POLLIN};
  all[count + 1] = (struct pollfd){.fd = wake_fd(), .events = POLLIN};
  struct sleeper self = {.fd = own_fd};
  ldp_fall_asleep(&self);
  int result = LIBC(poll)(all, count + 2, timeout_ms);
  int error = errno;
  ldp_awake(&self);
  if (result > 0 && all[count + 1].revents != 0 && read(own_fd, &sink, sizeof sink) < 0) sink = 0;
  if ((result > 0 && all[count].revents != 0) || patience >= 0) worker_empty_bells();
  for (int i = 0; i < count; i++) fds[i].revents = result > 0 ? all[i].revents : 0;
  if (all != few) free(all);
  /* A handler that asks for calls to be restarted does not end this one. */
  if (result < 0 && error == EINTR && !ldp_interrupted()) result = 0;
  errno = error;
  return result;
}

/* --- poll --- */

static short ready_for(struct session *s, short events) {
  short ready = session_readiness(s);
  if ((ready & POLLIN) != 0) ready |= POLLRDNORM;
  if ((ready & POLLOUT) != 0) ready |= POLLWRNORM;
  return ready & (events | POLLERR | POLLHUP);
}

static int poll_sessions(struct pollfd *fds, nfds_t count, int timeout_ms, struct pollfd *kernel, int *place) {
  int64_t deadline = timeout_ms < 0 ? -1 : ldp_now_ms() + timeout_ms;
  int ready = 0, error = 0;
  vcl_lock();
  for (nfds_t i = 0; i < count; i++)
    if (ldp_is_session(fds[i].fd)) share_wait(ldp_session(fds[i].fd));
  for (;;) {
    int others = 0;
    worker_drain();
    ready = 0;
    for (nfds_t i = 0; i < count; i++) {
      struct session *s = ldp_session(fds[i].fd);
      if (s != NULL) session_take_up(s);
      fds[i].revents = s == NULL ? 0 : ready_for(s, fds[i].events);
      if (fds[i].revents != 0) ready++;
      if (s != NULL) continue;
      kernel[others] = fds[i];
      place[others++] = i;
    }
    int left = ldp_left_ms(deadline);
    int n = ready > 0 ? LIBC(poll)(kernel, others, 0) : ldp_sleep(kernel, others, left);
    /* No call that waits for descriptors is restarted after a signal. */
    if (n < 0 && ready == 0) error = errno;
    for (int i = 0; i < others && n > 0; i++) {
      fds[place[i]].revents = kernel[i].revents;
      if (kernel[i].revents != 0) ready++;
    }
    if (ready > 0 || error != 0 || left == 0) break;
  }
  vcl_unlock();
  if (error != 0) errno = error;
  return ready > 0 ? ready : error != 0 ? -1 : 0;
}

int poll(struct pollfd *fds, nfds_t count, int timeout_ms) {
  bool any = false;
  for (nfds_t i = 0; i < count && !any; i++) any = ldp_is_session(fds[i].fd);
  if (!any) return LIBC(poll)(fds, count, timeout_ms);
  if (count > MAX_FDS) return ldp_failed(EINVAL);
  if (count <= FEW) {
    struct pollfd kernel[FEW];
    int place[FEW];
    return poll_sessions(fds, count, timeout_ms, kernel, place);
  }
  struct pollfd *kernel = malloc(count * sizeof *kernel);
  int *place = malloc(count * sizeof *place);
  int result = kernel == NULL || place == NULL ? ldp_failed(ENOMEM) : poll_sessions(fds, count, timeout_ms, kernel, place);
  free(kernel);
  free(place);
  return result;
}

int __poll_chk(struct pollfd *fds, nfds_t count, int timeout_ms, size_t size) {
  (void)size;
  return poll(fds, count, timeout_ms);
}

static int milliseconds(const struct timespec *t) {
  if (t == NULL) return -1;
  int64_t ms = (int64_t)t->tv_sec * 1000 + (t->tv_nsec + 999999) / 1000000;
  return ms > 0x7fffffff ? 0x7fffffff : ms;
}

/* A signal that arrives between the change of the mask and the sleep is handled before it, not during. */
int ppoll(struct pollfd *fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask) {
  sigset_t before;
  bool any = false;
  for (nfds_t i = 0; i < count && !any; i++) any = ldp_is_session(fds[i].fd);
  if (!any) return LIBC(ppoll)(fds, count, timeout, mask);
  if (mask != NULL) pthread_sigmask(SIG_SETMASK, mask, &before);
  int result = poll(fds, count, milliseconds(timeout));
  int error = errno;
  if (mask != NULL) pthread_sigmask(SIG_SETMASK, &before, NULL);
  errno = error;
  return result;
}

int __ppoll_chk(struct pollfd *fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask, size_t size) {
  (void)size;
  return ppoll(fds, count, timeout, mask);
}

/* --- select --- */

static bool any_session(int count, const fd_set *read, const fd_set *write, const fd_set *except) {
  for (int fd = 0; fd < count && fd < FD_SETSIZE; fd++) {
    bool in = (read != NULL && FD_ISSET(fd, read)) || (write != NULL && FD_ISSET(fd, write)) || (except != NULL && FD_ISSET(fd, except));
    if (in && ldp_is_session(fd)) return true;
  }
  return false;
}

static int select_ms(int count, fd_set *read, fd_set *write, fd_set *except, int timeout_ms) {
  struct pollfd fds[FD_SETSIZE];
  int n = 0, ready = 0;
  for (int fd = 0; fd < count && fd < FD_SETSIZE; fd++) {
    short events = 0;
    if (read != NULL && FD_ISSET(fd, read)) events |= POLLIN;
    if (write != NULL && FD_ISSET(fd, write)) events |= POLLOUT;
    if (except != NULL && FD_ISSET(fd, except)) events |= POLLPRI;
    if (events != 0) fds[n++] = (struct pollfd){.fd = fd, .events = events};
  }
  if (poll(fds, n, timeout_ms) < 0) return -1;
  for (int i = 0; i < n; i++)
    if ((fds[i].revents & POLLNVAL) != 0) return ldp_failed(EBADF);
  for (int i = 0; i < n; i++) {
    int fd = fds[i].fd;
    bool in = (fds[i].revents & (POLLIN | POLLHUP | POLLERR)) != 0 && (fds[i].events & POLLIN) != 0;
    bool out = (fds[i].revents & (POLLOUT | POLLERR)) != 0 && (fds[i].events & POLLOUT) != 0;
    bool urgent = (fds[i].revents & POLLPRI) != 0;
    if (read != NULL && !in) FD_CLR(fd, read);
    if (write != NULL && !out) FD_CLR(fd, write);
    if (except != NULL && !urgent) FD_CLR(fd, except);
    ready += in + out + urgent;
  }
  return ready;
}

int select(int count, fd_set *read, fd_set *write, fd_set *except, struct timeval *timeout) {
  if (!any_session(count, read, write, except)) return LIBC(select)(count, read, write, except, timeout);
  int64_t started = ldp_now_ms();
  struct timespec limit = {0};
  if (timeout != NULL) limit = (struct timespec){timeout->tv_sec, timeout->tv_usec * 1000};
  int result = select_ms(count, read, write, except, milliseconds(timeout == NULL ? NULL : &limit));
  /* As Linux: what is left of the time. */
  if (timeout != NULL) {
    int64_t left = (int64_t)timeout->tv_sec * 1000000 + timeout->tv_usec - (ldp_now_ms() - started) * 1000;
    *timeout = (struct timeval){left > 0 ? left / 1000000 : 0, left > 0 ? left % 1000000 : 0};
  }
  return result;
}

int pselect(int count, fd_set *read, fd_set *write, fd_set *except, const struct timespec *timeout, const sigset_t *mask) {
  sigset_t before;
  if (!any_session(count, read, write, except)) return LIBC(pselect)(count, read, write, except, timeout, mask);
  if (mask != NULL) pthread_sigmask(SIG_SETMASK, mask, &before);
  int result = select_ms(count, read, write, except, milliseconds(timeout));
  int error = errno;
  if (mask != NULL) pthread_sigmask(SIG_SETMASK, &before, NULL);
  errno = error;
  return result;
}
