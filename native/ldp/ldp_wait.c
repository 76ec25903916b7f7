/*
 * The calls that wait: poll, select and epoll over sessions and kernel descriptors together. Whoever waits looks at its sessions, arms the
 * bells and then sleeps in the kernel on bells and descriptors.
 */
#define _GNU_SOURCE
#include "ldp.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <unistd.h>

#define MAX_POLL 4096
#define MAX_EPOLLS 64
/* With several threads asleep, one may empty the bell of another: nobody sleeps longer than this then. */
#define SHARED_SLEEP_MS 10

DECLARE_LIBC(poll);
DECLARE_LIBC(ppoll);
DECLARE_LIBC(select);
DECLARE_LIBC(pselect);
DECLARE_LIBC(epoll_ctl);
DECLARE_LIBC(epoll_pwait);

int64_t ldp_now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int ldp_left_ms(int64_t deadline) {
  if (deadline < 0) return -1;
  int64_t left = deadline - ldp_now_ms();
  return left < 0 ? 0 : left;
}

static int sleepers;
bool ldp_has_epolls;

int ldp_sleep(struct pollfd *fds, int count, int timeout_ms) {
  struct pollfd all[MAX_POLL + MAX_BELLS];
  int bells[MAX_BELLS];
  if (!worker_arm()) timeout_ms = 0;
  int n = worker_bells(bells, MAX_BELLS);
  if (count > 0) memcpy(all, fds, count * sizeof *all);
  for (int i = 0; i < n; i++) all[count + i] = (struct pollfd){.fd = bells[i], .events = POLLIN};
  if (++sleepers > 1 && (timeout_ms < 0 || timeout_ms > SHARED_SLEEP_MS)) timeout_ms = SHARED_SLEEP_MS;
  vcl_unlock();
  int result = LIBC(poll)(all, count + n, timeout_ms);
  int error = errno;
  vcl_lock();
  sleepers--;
  bool rung = false;
  for (int i = 0; i < n && result > 0; i++) rung = rung || all[count + i].revents != 0;
  if (rung) worker_empty_bells();
  for (int i = 0; i < count; i++) fds[i].revents = result > 0 ? all[i].revents : 0;
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

int poll(struct pollfd *fds, nfds_t count, int timeout_ms) {
  struct pollfd kernel[MAX_POLL];
  int place[MAX_POLL];
  bool any = false;
  for (nfds_t i = 0; i < count && !any; i++) any = ldp_is_session(fds[i].fd);
  if (!any) return LIBC(poll)(fds, count, timeout_ms);
  if (count > MAX_POLL) {
    errno = EINVAL;
    return -1;
  }
  int64_t deadline = timeout_ms < 0 ? -1 : ldp_now_ms() + timeout_ms;
  int ready = 0, error = 0;
  vcl_lock();
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
    if (n < 0 && ready == 0) error = errno;
    for (int i = 0; i < others && n > 0; i++) {
      fds[place[i]].revents = kernel[i].revents;
      if (kernel[i].revents != 0) ready++;
    }
    if (ready > 0 || error != 0 || left == 0) break;
  }
  vcl_unlock();
  errno = error;
  return ready > 0 ? ready : error != 0 ? -1 : 0;
}

int __poll_chk(struct pollfd *fds, nfds_t count, int timeout_ms, size_t size) {
  (void)size;
  return poll(fds, count, timeout_ms);
}

/* A signal that arrives between the change of the mask and the sleep is handled before it, not during. */
int ppoll(struct pollfd *fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask) {
  sigset_t before;
  bool any = false;
  for (nfds_t i = 0; i < count && !any; i++) any = ldp_is_session(fds[i].fd);
  if (!any) return LIBC(ppoll)(fds, count, timeout, mask);
  if (mask != NULL) pthread_sigmask(SIG_SETMASK, mask, &before);
  int result = poll(fds, count, timeout == NULL ? -1 : (int)(timeout->tv_sec * 1000 + (timeout->tv_nsec + 999999) / 1000000));
  if (mask != NULL) pthread_sigmask(SIG_SETMASK, &before, NULL);
  return result;
}

/* --- select --- */

int select(int count, fd_set *read, fd_set *write, fd_set *except, struct timeval *timeout) {
  struct pollfd fds[FD_SETSIZE];
  int n = 0, ready = 0;
  bool any = false;
  for (int fd = 0; fd < count && fd < FD_SETSIZE; fd++) {
    short events = 0;
    if (read != NULL && FD_ISSET(fd, read)) events |= POLLIN;
    if (write != NULL && FD_ISSET(fd, write)) events |= POLLOUT;
    if (except != NULL && FD_ISSET(fd, except)) events |= POLLPRI;
    if (events == 0) continue;
    any = any || ldp_is_session(fd);
    fds[n++] = (struct pollfd){.fd = fd, .events = events};
  }
  if (!any) return LIBC(select)(count, read, write, except, timeout);
  int result = poll(fds, n, timeout == NULL ? -1 : (int)(timeout->tv_sec * 1000 + (timeout->tv_usec + 999) / 1000));
  if (result < 0) return -1;
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

int pselect(int count, fd_set *read, fd_set *write, fd_set *except, const struct timespec *timeout, const sigset_t *mask) {
  sigset_t before;
  struct timeval limit = {0};
  bool any = false;
  for (int fd = 0; fd < count && fd < FD_SETSIZE && !any; fd++) any = ldp_is_session(fd);
  if (!any) return LIBC(pselect)(count, read, write, except, timeout, mask);
  if (timeout != NULL) limit = (struct timeval){timeout->tv_sec, (timeout->tv_nsec + 999) / 1000};
  if (mask != NULL) pthread_sigmask(SIG_SETMASK, mask, &before);
  int result = select(count, read, write, except, timeout == NULL ? NULL : &limit);
  if (mask != NULL) pthread_sigmask(SIG_SETMASK, &before, NULL);
  return result;
}

/* --- epoll --- */

struct member {
  int fd;
  uint32_t events;
  epoll_data_t data;
  /* What an edge-triggered member has been told of. */
  uint32_t in_seen, out_seen;
  bool fresh;
};

struct epoll_set {
  int fd;
  struct member *members;
  int count, room, next;
  unsigned bells_version;
};

/* Sets that have sessions in them. */
static struct epoll_set *sets[MAX_EPOLLS];
static const uint64_t BELL = 0x5c1ce0be110000ull;

static struct epoll_set *find_set(int fd) {
  for (int i = 0; i < MAX_EPOLLS; i++)
    if (sets[i] != NULL && sets[i]->fd == fd) return sets[i];
  return NULL;
}

static struct epoll_set *make_set(int fd) {
  for (int i = 0; i < MAX_EPOLLS; i++) {
    if (sets[i] != NULL) continue;
    sets[i] = calloc(1, sizeof **sets);
    if (sets[i] != NULL) sets[i]->fd = fd;
    ldp_has_epolls = true;
    return sets[i];
  }
  return NULL;
}

static void remove_member(struct epoll_set *set, int i) { set->members[i] = set->members[--set->count]; }

void ldp_epoll_forget(int fd) {
  for (int i = 0; i < MAX_EPOLLS; i++) {
    struct epoll_set *set = sets[i];
    if (set == NULL) continue;
    if (set->fd == fd) {
      free(set->members);
      free(set);
      sets[i] = NULL;
      continue;
    }
    for (int k = set->count - 1; k >= 0; k--)
      if (set->members[k].fd == fd) remove_member(set, k);
  }
}

static int control(int epfd, int op, int fd, const struct epoll_event *event) {
  struct epoll_set *set = find_set(epfd);
  int at = -1;
  for (int i = 0; set != NULL && i < set->count; i++)
    if (set->members[i].fd == fd) at = i;
  if (op == EPOLL_CTL_ADD && at >= 0) return EEXIST;
  if (op != EPOLL_CTL_ADD && at < 0) return ENOENT;
  if (op == EPOLL_CTL_DEL) {
    remove_member(set, at);
    return 0;
  }
  if (op == EPOLL_CTL_ADD) {
    if (set == NULL && (set = make_set(epfd)) == NULL) return ENOSPC;
    if (set->count == set->room) {
      int room = set->room == 0 ? 16 : set->room * 2;
      struct member *grown = realloc(set->members, room * sizeof *grown);
      if (grown == NULL) return ENOMEM;
      set->members = grown;
      set->room = room;
    }
    at = set->count++;
  } else if (op != EPOLL_CTL_MOD) return EINVAL;
  set->members[at] = (struct member){.fd = fd, .events = event->events, .data = event->data, .fresh = true};
  return 0;
}

int epoll_ctl(int epfd, int op, int fd, struct epoll_event *event) {
  if (!ldp_is_session(fd)) return LIBC(epoll_ctl)(epfd, op, fd, event);
  vcl_lock();
  session_take_up(ldp_session(fd));
  int error = control(epfd, op, fd, event);
  vcl_unlock();
  if (error == 0) return 0;
  errno = error;
  return -1;
}

static int collect(struct epoll_set *set, struct epoll_event *out, int most) {
  int n = 0;
  for (int k = 0; k < set->count && n < most; k++) {
    /* Where the last call stopped: every session gets its turn. */
    struct member *m = &set->members[(set->next + k) % set->count];
    struct session *s = ldp_session(m->fd);
    if (s == NULL || m->events == 0) continue;
    uint32_t ready = session_readiness(s) & (m->events | EPOLLERR | EPOLLHUP);
    if (ready == 0) continue;
    if ((m->events & EPOLLET) != 0) {
      bool in = m->fresh || m->in_seen != s->in_events, out_now = m->fresh || m->out_seen != s->out_events;
      if (!(in && (ready & ~EPOLLOUT) != 0) && !(out_now && (ready & EPOLLOUT) != 0)) continue;
    }
    m->in_seen = s->in_events;
    m->out_seen = s->out_events;
    m->fresh = false;
    out[n].events = ready;
    out[n++].data = m->data;
    if ((m->events & EPOLLONESHOT) != 0) m->events = 0;
  }
  if (n > 0) set->next = (set->next + n) % set->count;
  return n;
}

/* The bells are members of the kernel's set; a closed one leaves it by itself. */
static void add_bells(struct epoll_set *set) {
  int bells[MAX_BELLS];
  if (set->bells_version == worker_bells_version) return;
  set->bells_version = worker_bells_version;
  int n = worker_bells(bells, MAX_BELLS);
  for (int i = 0; i < n; i++) {
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = BELL};
    LIBC(epoll_ctl)(set->fd, EPOLL_CTL_ADD, bells[i], &event);
  }
}

int epoll_pwait(int epfd, struct epoll_event *events, int most, int timeout_ms, const sigset_t *mask) {
  vcl_lock();
  struct epoll_set *set = find_set(epfd);
  if (set == NULL || most <= 0) {
    vcl_unlock();
    return LIBC(epoll_pwait)(epfd, events, most, timeout_ms, mask);
  }
  int64_t deadline = timeout_ms < 0 ? -1 : ldp_now_ms() + timeout_ms;
  int n = 0, error = 0;
  for (;;) {
    worker_drain();
    n = collect(set, events, most);
    add_bells(set);
    int left = n > 0 || !worker_arm() ? 0 : ldp_left_ms(deadline);
    bool last = ldp_left_ms(deadline) == 0;
    if (++sleepers > 1 && (left < 0 || left > SHARED_SLEEP_MS)) left = SHARED_SLEEP_MS;
    vcl_unlock();
    int got = n < most ? LIBC(epoll_pwait)(epfd, events + n, most - n, left, mask) : 0;
    error = got < 0 ? errno : 0;
    vcl_lock();
    sleepers--;
    bool rung = false;
    for (int i = 0, end = n + (got > 0 ? got : 0), from = n; i + from < end; i++) {
      if (events[from + i].data.u64 == BELL) rung = true;
      else events[n++] = events[from + i];
    }
    if (rung) worker_empty_bells();
    set = find_set(epfd);
    if (n > 0 || error != 0 || set == NULL || last) break;
  }
  vcl_unlock();
  errno = error;
  return n > 0 ? n : error != 0 ? -1 : 0;
}

int epoll_wait(int epfd, struct epoll_event *events, int most, int timeout_ms) {
  return epoll_pwait(epfd, events, most, timeout_ms, NULL);
}
