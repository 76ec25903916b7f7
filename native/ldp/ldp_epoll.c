/*
 * epoll over sessions and kernel descriptors together. A set of the kernel's exists under the same number and watches the kernel's
 * descriptors, the bells, and what wakes a thread; the sessions of a set are here. What happens to a session puts its watchers in line, so
 * that waiting costs as much as there are sessions with news, not as there are sessions.
 *
 * Left out: a set with sessions inside another set or in poll; EPOLLEXCLUSIVE (each worker listens for itself anyway); EPOLLWAKEUP.
 */
#define _GNU_SOURCE
#include "ldp.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

DECLARE_LIBC(epoll_ctl);
DECLARE_LIBC(epoll_pwait);
DECLARE_LIBC(epoll_wait);

/* One session in one set. */
struct watcher {
  struct session *session;
  struct epoll_set *set;
  int fd;
  uint32_t events;
  epoll_data_t data;
  /* What an edge-triggered one has been told of. */
  uint32_t in_seen, out_seen;
  bool fresh, in_line;
  struct watcher *of_session, *line_next, *line_previous, *set_next, *set_previous;
};

struct epoll_set {
  int fd, users;
  struct watcher *watchers, *first, *last;
  /* The bells that the kernel's set watches, and what wakes a thread that sleeps in it. */
  unsigned bells_version;
  int wake_fd;
};

static struct epoll_set *sets[MAX_FDS];
static const uint64_t BELL = 0x5c1ce0be110000ull, WAKE = 0x5c1ce0be110001ull;

int kernel_epoll_ctl(int epfd, int op, int fd, struct epoll_event *event) { return LIBC(epoll_ctl)(epfd, op, fd, event); }

int kernel_epoll_wait(int epfd, struct epoll_event *events, int most, int timeout_ms) {
  return LIBC(epoll_wait)(epfd, events, most, timeout_ms);
}

static struct epoll_set *find_set(int fd) { return fd >= 0 && fd < MAX_FDS ? __atomic_load_n(&sets[fd], __ATOMIC_ACQUIRE) : NULL; }

bool ldp_is_epoll(int fd) { return find_set(fd) != NULL; }

static struct epoll_set *make_set(int fd) {
  struct epoll_set *set = calloc(1, sizeof *set);
  if (set == NULL) return NULL;
  set->fd = fd;
  set->users = 1;
  set->wake_fd = internal_fd(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  struct epoll_event event = {.events = EPOLLIN, .data.u64 = WAKE};
  kernel_epoll_ctl(fd, EPOLL_CTL_ADD, set->wake_fd, &event);
  __atomic_store_n(&sets[fd], set, __ATOMIC_RELEASE);
  return set;
}

/* --- the line of those with news --- */

static void leave_line(struct watcher *w) {
  struct epoll_set *set = w->set;
  if (!w->in_line) return;
  w->in_line = false;
  if (w->line_previous != NULL) w->line_previous->line_next = w->line_next;
  else set->first = w->line_next;
  if (w->line_next != NULL) w->line_next->line_previous = w->line_previous;
  else set->last = w->line_previous;
}

static void join_line(struct watcher *w) {
  struct epoll_set *set = w->set;
  if (w->in_line || w->events == 0) return;
  w->in_line = true;
  w->line_next = NULL;
  w->line_previous = set->last;
  if (set->last != NULL) set->last->line_next = w;
  else set->first = w;
  set->last = w;
}

void ldp_epoll_raised(struct session *s) {
  for (struct watcher *w = s->watchers; w != NULL; w = w->of_session) join_line(w);
}

/* --- membership --- */

static void remove_watcher(struct watcher *w) {
  leave_line(w);
  for (struct watcher **at = &w->session->watchers; *at != NULL; at = &(*at)->of_session) {
    if (*at != w) continue;
    *at = w->of_session;
    break;
  }
  if (w->set_previous != NULL) w->set_previous->set_next = w->set_next;
  else w->set->watchers = w->set_next;
  if (w->set_next != NULL) w->set_next->set_previous = w->set_previous;
  free(w);
}

void ldp_epoll_forget(struct session *s) {
  while (s->watchers != NULL) remove_watcher(s->watchers);
}

void ldp_epoll_to_kernel(struct session *s) {
  while (s->watchers != NULL) {
    struct watcher *w = s->watchers;
    struct epoll_event event = {.events = w->events, .data = w->data};
    kernel_epoll_ctl(w->set->fd, EPOLL_CTL_ADD, w->fd, &event);
    remove_watcher(w);
  }
}

void ldp_epoll_closed(int fd) {
  struct epoll_set *set = find_set(fd);
  if (set == NULL) return;
  __atomic_store_n(&sets[fd], NULL, __ATOMIC_RELEASE);
  if (--set->users > 0) {
    for (int i = 0; set->fd == fd && i < MAX_FDS; i++)
      if (sets[i] == set) set->fd = i;
    return;
  }
  while (set->watchers != NULL) remove_watcher(set->watchers);
  kernel_close(set->wake_fd);
  free(set);
}

void ldp_epoll_dup(int from, int to) {
  struct epoll_set *set = find_set(from);
  if (set == NULL || to < 0 || to >= MAX_FDS) return;
  set->users++;
  __atomic_store_n(&sets[to], set, __ATOMIC_RELEASE);
}

static int control(int epfd, int op, int fd, const struct epoll_event *event) {
  struct session *s = ldp_session(fd);
  struct epoll_set *set = find_set(epfd);
  struct watcher *w = set == NULL ? NULL : s->watchers;
  while (w != NULL && (w->set != set || w->fd != fd)) w = w->of_session;
  if (op == EPOLL_CTL_ADD && w != NULL) return EEXIST;
  if (op != EPOLL_CTL_ADD && w == NULL) return ENOENT;
  if (op == EPOLL_CTL_DEL) {
    remove_watcher(w);
    return 0;
  }
  if (event == NULL) return EFAULT;
  if (op == EPOLL_CTL_ADD) {
    if (set == NULL && (set = make_set(epfd)) == NULL) return ENOMEM;
    if ((w = calloc(1, sizeof *w)) == NULL) return ENOMEM;
    w->session = s;
    w->set = set;
    w->fd = fd;
    w->of_session = s->watchers;
    s->watchers = w;
    w->set_next = set->watchers;
    if (set->watchers != NULL) set->watchers->set_previous = w;
    set->watchers = w;
  } else if (op != EPOLL_CTL_MOD) return EINVAL;
  w->events = event->events | EPOLLERR | EPOLLHUP;
  w->data = event->data;
  w->fresh = true;
  join_line(w);
  /* Another thread may sleep in this set. */
  uint64_t one = 1;
  if (w->in_line && session_readiness(s) != 0 && write(set->wake_fd, &one, sizeof one) < 0) return 0;
  return 0;
}

int epoll_ctl(int epfd, int op, int fd, struct epoll_event *event) {
  /* The set outside would not hear of the sessions of the one inside. */
  if (op == EPOLL_CTL_ADD && ldp_is_epoll(fd)) return ldp_failed(EINVAL);
  if (!ldp_is_session(fd)) return LIBC(epoll_ctl)(epfd, op, fd, event);
  vcl_lock();
  struct session *s = ldp_session(fd);
  if (s != NULL) session_take_up(s);
  if (s != NULL && op != EPOLL_CTL_DEL) share_wait(s);
  s = ldp_session(fd);
  int error = s == NULL ? EBADF : control(epfd, op, fd, event);
  vcl_unlock();
  return error == 0 ? 0 : ldp_failed(error);
}

/* --- waiting --- */

static int collect(struct epoll_set *set, struct epoll_event *out, int most) {
  struct watcher *end = set->last;
  int n = 0;
  while (n < most && set->first != NULL) {
    struct watcher *w = set->first;
    struct session *s = w->session;
    bool was_last = w == end;
    leave_line(w);
    uint32_t ready = (uint32_t)session_readiness(s) & w->events;
    bool edge = (w->events & EPOLLET) != 0;
    bool news = w->fresh || (w->in_seen != s->in_events && (ready & ~EPOLLOUT) != 0) || (w->out_seen != s->out_events && (ready & EPOLLOUT) != 0);
    if (ready != 0 && (!edge || news)) {
      w->in_seen = s->in_events;
      w->out_seen = s->out_events;
      w->fresh = false;
      out[n].events = ready;
      out[n++].data = w->data;
      if ((w->events & EPOLLONESHOT) != 0) w->events = 0;
      /* To the end of the line: every session gets its turn. */
      else if (!edge) join_line(w);
    }
    if (was_last) break;
  }
  return n;
}

/* The bells of this attachment are a member of the kernel's set; those of an earlier one have left it when they were closed. */
static void watch_bells(struct epoll_set *set) {
  int bells = worker_bells();
  if (bells < 0 || set->bells_version == worker_bells_version) return;
  struct epoll_event event = {.events = EPOLLIN, .data.u64 = BELL};
  set->bells_version = worker_bells_version;
  kernel_epoll_ctl(set->fd, EPOLL_CTL_ADD, bells, &event);
}

int epoll_pwait(int epfd, struct epoll_event *events, int most, int timeout_ms, const sigset_t *mask) {
  if (find_set(epfd) == NULL || most <= 0 || events == NULL) return LIBC(epoll_pwait)(epfd, events, most, timeout_ms, mask);
  int64_t deadline = timeout_ms < 0 ? -1 : ldp_now_ms() + timeout_ms;
  int n = 0, error = 0;
  uint64_t sink;
  vcl_lock();
  struct epoll_set *set = find_set(epfd);
  while (set != NULL) {
    worker_drain();
    n = collect(set, events, most);
    watch_bells(set);
    int left = n > 0 || !worker_arm() ? 0 : ldp_left_ms(deadline);
    int patience = worker_patience();
    bool last = ldp_left_ms(deadline) == 0;
    if (patience >= 0 && (left < 0 || left > patience)) left = patience;
    struct sleeper self = {.fd = set->wake_fd};
    if (left == 0) vcl_unlock();
    else ldp_fall_asleep(&self);
    int got = n < most ? LIBC(epoll_pwait)(epfd, events + n, most - n, left, mask) : 0;
    error = got < 0 ? errno : 0;
    if (left == 0) vcl_lock();
    else ldp_awake(&self);
    bool rung = patience >= 0, woken = false;
    for (int i = 0, end = n + (got > 0 ? got : 0), from = n; i + from < end; i++) {
      if (events[from + i].data.u64 == BELL) rung = true;
      else if (events[from + i].data.u64 == WAKE) woken = true;
      else events[n++] = events[from + i];
    }
    set = find_set(epfd);
    if (woken && set != NULL && read(set->wake_fd, &sink, sizeof sink) < 0) sink = 0;
    if (rung) worker_empty_bells();
    if (n > 0 || error != 0 || last) break;
  }
  vcl_unlock();
  if (n == 0 && error != 0) errno = error;
  return n > 0 ? n : error != 0 ? -1 : 0;
}

int epoll_wait(int epfd, struct epoll_event *events, int most, int timeout_ms) {
  return epoll_pwait(epfd, events, most, timeout_ms, NULL);
}

int epoll_pwait2(int epfd, struct epoll_event *events, int most, const struct timespec *timeout, const sigset_t *mask) {
  int64_t ms = timeout == NULL ? -1 : (int64_t)timeout->tv_sec * 1000 + (timeout->tv_nsec + 999999) / 1000000;
  return epoll_pwait(epfd, events, most, ms > 0x7fffffff ? 0x7fffffff : (int)ms, mask);
}
