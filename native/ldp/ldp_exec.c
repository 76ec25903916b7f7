/*
 * Across exec sessions go on in the new program, when their descriptors do. The inode of the socket that stands for a session tells which
 * descriptor is which, whatever its number is by then.
 *
 * Of listeners a memfd knows that stays with the process: the new program listens at the same address as soon as it uses it. Connections
 * are handed on by the call itself: the stack is told that the program to come holds them (share.c), and another memfd lists them. A
 * program without this library leaves both alone; the connections end with it.
 */
#define _GNU_SOURCE
#include "ldp.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define LISTENERS "sluice-listeners"
#define CONNECTIONS "sluice-connections"

DECLARE_LIBC(fcntl);
DECLARE_LIBC(execve);
DECLARE_LIBC(execvpe);
DECLARE_LIBC(fexecve);
DECLARE_LIBC(execveat);
DECLARE_LIBC(posix_spawn);
DECLARE_LIBC(posix_spawnp);

static int listeners_fd = -1;

uint64_t ldp_inode(int fd) {
  struct stat status;
  return fstat(fd, &status) == 0 && S_ISSOCK(status.st_mode) ? status.st_ino : 0;
}

/* Out of the way of the program's, but not closed by exec. */
static int lasting_fd(int fd) {
  int moved = fd < 0 ? -1 : LIBC(fcntl)(fd, F_DUPFD, INTERNAL_FD);
  if (moved < 0) return fd;
  kernel_close(fd);
  return moved;
}

/* --- listeners --- */

struct listener_record {
  uint64_t inode;
  int32_t family, is_v4, words[4], port, backlog, v6only;
};

void ldp_note_listener(int fd, const struct session *s) {
  struct listener_record r = {.inode = ldp_inode(fd), .family = s->family, .is_v4 = s->local.is_v4, .port = s->local.port,
                              .backlog = s->backlog, .v6only = s->v6only};
  memcpy(r.words, s->local.words, sizeof r.words);
  if (listeners_fd < 0) {
    listeners_fd = lasting_fd(memfd_create(LISTENERS, 0));
    if (listeners_fd < 0) return;
    ldp_own(listeners_fd);
  }
  struct ticket ticket;
  worker_ticket(&ticket);
  if (pwrite(listeners_fd, &ticket, sizeof ticket, 0) != sizeof ticket) return;
  if (r.inode == 0 || lseek(listeners_fd, 0, SEEK_END) > 1 << 20) return;
  if (write(listeners_fd, &r, sizeof r) != sizeof r) return;
}

static void take_listener(int fd, uint64_t inode) {
  struct listener_record r;
  for (off_t at = sizeof(struct ticket); pread(listeners_fd, &r, sizeof r, at) == sizeof r; at += sizeof r) {
    if (r.inode != inode) continue;
    struct session *s = session_create(r.family, false);
    if (s == NULL) return;
    s->fd = fd;
    s->inode = inode;
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

/* --- connections --- */

struct connection_record {
  uint64_t inode;
  int32_t family, stack_index, stack_generation;
  struct endpoint local, remote;
  bool read_closed, peer_closed, write_shut, reset_on_close;
};

/* What a program to come gets: closed again where there is none. */
struct crossing {
  int heir, file;
};

/* Sockets that exec leaves open; only while connections are chosen. */
static uint64_t *lasting;
static size_t lasting_count;

static bool is_lasting(const struct session *s) {
  for (size_t i = 0; i < lasting_count; i++)
    if (lasting[i] == s->inode) return true;
  return false;
}

static bool is_any(const struct session *s) { return s->inode != 0; }

static void list_lasting(void) {
  DIR *directory = opendir("/proc/self/fd");
  size_t room = 0;
  lasting_count = 0;
  for (struct dirent *entry; directory != NULL && (entry = readdir(directory)) != NULL;) {
    int fd = atoi(entry->d_name);
    uint64_t inode = entry->d_name[0] == '.' || (LIBC(fcntl)(fd, F_GETFD) & FD_CLOEXEC) != 0 ? 0 : ldp_inode(fd);
    if (inode == 0) continue;
    if (lasting_count == room) {
      uint64_t *grown = realloc(lasting, (room = room * 2 + 16) * sizeof *grown);
      if (grown == NULL) break;
      lasting = grown;
    }
    lasting[lasting_count++] = inode;
  }
  if (directory != NULL) closedir(directory);
}

static void write_connections(int file, int heir, bool (*each)(const struct session *)) {
  if (write(file, &heir, sizeof heir) != sizeof heir) return;
  for (struct session *s = worker_sessions; s != NULL; s = s->next) {
    if (!s->shared || s->state != SESSION_READY || !each(s)) continue;
    struct connection_record r;
    memset(&r, 0, sizeof r);
    r.inode = s->inode;
    r.family = s->family;
    r.stack_index = s->stack_index;
    r.stack_generation = s->stack_generation;
    r.local = s->local;
    r.remote = s->remote;
    r.read_closed = s->read_closed;
    r.peer_closed = s->peer_closed;
    r.write_shut = s->write_shut;
    r.reset_on_close = s->reset_on_close;
    if (write(file, &r, sizeof r) != sizeof r) return;
  }
}

/* `all`: which descriptors the new program gets is not known here. */
static struct crossing cross(bool all) {
  struct crossing c = {-1, -1};
  bool (*each)(const struct session *) = all ? is_any : is_lasting;
  int error = errno;
  /* A child that shares the memory of its parent must not attach. */
  if (ldp_in_vfork() && !worker_is_attached()) return c;
  vcl_lock();
  bool any = false;
  for (struct session *s = worker_sessions; s != NULL && !any; s = s->next) any = s->state == SESSION_READY && !s->datagram;
  if (any) {
    if (!all) list_lasting();
    c.heir = lasting_fd(share_make_heir(each, false));
    if (c.heir >= 0) c.file = lasting_fd(memfd_create(CONNECTIONS, 0));
    if (c.file >= 0) write_connections(c.file, c.heir, each);
    free(lasting);
    lasting = NULL;
    lasting_count = 0;
  }
  vcl_unlock();
  errno = error;
  return c;
}

static void uncross(struct crossing c) {
  int error = errno;
  if (c.heir >= 0) kernel_close(c.heir);
  if (c.file >= 0) kernel_close(c.file);
  errno = error;
}

static void take_connection(const struct connection_record *r) {
  struct session *s = session_create(r->family, false);
  if (s == NULL) return;
  s->fds = 0;
  s->inode = r->inode;
  s->stack_index = r->stack_index;
  s->stack_generation = r->stack_generation;
  s->local = r->local;
  s->remote = r->remote;
  s->read_closed = r->read_closed;
  s->peer_closed = r->peer_closed;
  s->write_shut = r->write_shut;
  s->reset_on_close = r->reset_on_close;
  s->state = SESSION_READY;
  s->shared = true;
  session_add_name(s);
}

static void give_descriptor(int fd, uint64_t inode) {
  for (struct session *s = worker_sessions; s != NULL; s = s->next) {
    if (s->inode != inode || !s->shared) continue;
    if (s->fds++ == 0) s->fd = fd;
    ldp_set(fd, s);
    ldp_stdio_follow(fd);
    return;
  }
}

/* Those whose descriptors have not come along. */
static void drop_rest(void) {
  for (struct session *s = worker_sessions, *next; s != NULL; s = next) {
    next = s->next;
    if (s->shared && s->fds == 0) session_close(s);
  }
}

/* --- at the start --- */

/* The descriptor of a memfd of that name; -1: none. */
static int find_memfd(DIR *directory, const char *name) {
  char path[64], target[64], wanted[64];
  snprintf(wanted, sizeof wanted, "/memfd:%s", name);
  rewinddir(directory);
  for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
    snprintf(path, sizeof path, "/proc/self/fd/%.20s", entry->d_name);
    ssize_t n = readlink(path, target, sizeof target - 1);
    if (n <= 0) continue;
    target[n] = 0;
    if (strncmp(target, wanted, strlen(wanted)) == 0) return atoi(entry->d_name);
  }
  return -1;
}

static void take_connections(int file) {
  struct connection_record r;
  int heir;
  if (pread(file, &heir, sizeof heir, 0) == sizeof heir && heir >= 0 && ldp_inode(heir) != 0) {
    share_use_heir(heir);
    for (off_t at = sizeof heir; pread(file, &r, sizeof r, at) == sizeof r; at += sizeof r) take_connection(&r);
  }
  kernel_close(file);
}

__attribute__((constructor)) static void inherit(void) {
  ldp_forked();
  DIR *directory = opendir("/proc/self/fd");
  if (directory == NULL) return;
  listeners_fd = find_memfd(directory, LISTENERS);
  int connections = find_memfd(directory, CONNECTIONS);
  if (listeners_fd >= 0) {
    struct ticket ticket;
    ldp_own(listeners_fd);
    if (pread(listeners_fd, &ticket, sizeof ticket, 0) == sizeof ticket) worker_use_ticket(&ticket);
  }
  vcl_lock();
  if (connections >= 0) take_connections(connections);
  rewinddir(directory);
  for (struct dirent *entry; (listeners_fd >= 0 || connections >= 0) && (entry = readdir(directory)) != NULL;) {
    int fd = atoi(entry->d_name);
    if (entry->d_name[0] == '.' || fd >= MAX_FDS || fd == dirfd(directory) || ldp_is_internal(fd)) continue;
    uint64_t inode = ldp_inode(fd);
    if (inode != 0 && connections >= 0) give_descriptor(fd, inode);
    if (inode != 0 && listeners_fd >= 0 && !ldp_is_session(fd)) take_listener(fd, inode);
  }
  closedir(directory);
  if (connections >= 0) drop_rest();
  vcl_unlock();
}

/* --- the calls --- */

/* Its memory is its own: what the child does to sessions before it runs another program is known. */
pid_t vfork(void) { return fork(); }

int execve(const char *path, char *const argv[], char *const env[]) {
  struct crossing c = cross(false);
  LIBC(execve)(path, argv, env);
  uncross(c);
  return -1;
}

int execvpe(const char *file, char *const argv[], char *const env[]) {
  struct crossing c = cross(false);
  LIBC(execvpe)(file, argv, env);
  uncross(c);
  return -1;
}

int fexecve(int fd, char *const argv[], char *const env[]) {
  struct crossing c = cross(false);
  LIBC(fexecve)(fd, argv, env);
  uncross(c);
  return -1;
}

int execveat(int directory, const char *path, char *const argv[], char *const env[], int flags) {
  struct crossing c = cross(false);
  LIBC(execveat)(directory, path, argv, env, flags);
  uncross(c);
  return -1;
}

int execv(const char *path, char *const argv[]) { return execve(path, argv, environ); }

int execvp(const char *file, char *const argv[]) { return execvpe(file, argv, environ); }

/* The arguments of a call, up to NULL, with `first` before them. */
static int count_arguments(va_list list) {
  int n = 1;
  while (va_arg(list, char *) != NULL) n++;
  return n;
}

#define COLLECT(argv, first)                                         \
  va_list list;                                                      \
  va_start(list, first);                                             \
  int count = count_arguments(list);                                 \
  va_end(list);                                                      \
  char *argv[count + 1];                                             \
  va_start(list, first);                                             \
  argv[0] = (char *)first;                                           \
  for (int i = 1; i <= count; i++) argv[i] = va_arg(list, char *);

int execl(const char *path, const char *first, ...) {
  COLLECT(argv, first)
  va_end(list);
  return execve(path, argv, environ);
}

int execlp(const char *file, const char *first, ...) {
  COLLECT(argv, first)
  va_end(list);
  return execvpe(file, argv, environ);
}

int execle(const char *path, const char *first, ...) {
  COLLECT(argv, first)
  char **env = va_arg(list, char **);
  va_end(list);
  return execve(path, argv, env);
}

int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions, const posix_spawnattr_t *attributes,
                char *const argv[], char *const env[]) {
  struct crossing c = cross(true);
  int error = LIBC(posix_spawn)(pid, path, actions, attributes, argv, env);
  uncross(c);
  return error;
}

/* As the C library's, whose own does not call ours. */
int system(const char *command) {
  char *argv[] = {"sh", "-c", (char *)command, NULL};
  struct sigaction ignore = {.sa_handler = SIG_IGN}, interrupt, quit;
  posix_spawnattr_t attributes;
  sigset_t child, before, standard;
  pid_t pid;
  int status = 0;
  if (command == NULL) return 1;
  sigemptyset(&child);
  sigaddset(&child, SIGCHLD);
  sigprocmask(SIG_BLOCK, &child, &before);
  sigaction(SIGINT, &ignore, &interrupt);
  sigaction(SIGQUIT, &ignore, &quit);
  sigemptyset(&standard);
  if (interrupt.sa_handler != SIG_IGN) sigaddset(&standard, SIGINT);
  if (quit.sa_handler != SIG_IGN) sigaddset(&standard, SIGQUIT);
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setsigmask(&attributes, &before);
  posix_spawnattr_setsigdefault(&attributes, &standard);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
  int error = posix_spawn(&pid, "/bin/sh", NULL, &attributes, argv, environ);
  posix_spawnattr_destroy(&attributes);
  if (error != 0) status = -1;
  else
    while (waitpid(pid, &status, 0) < 0)
      if (errno != EINTR) {
        error = errno;
        status = -1;
        break;
      }
  sigaction(SIGINT, &interrupt, NULL);
  sigaction(SIGQUIT, &quit, NULL);
  sigprocmask(SIG_SETMASK, &before, NULL);
  if (error != 0) errno = error;
  return status;
}

int posix_spawnp(pid_t *pid, const char *file, const posix_spawn_file_actions_t *actions, const posix_spawnattr_t *attributes,
                 char *const argv[], char *const env[]) {
  struct crossing c = cross(true);
  int error = LIBC(posix_spawnp)(pid, file, actions, attributes, argv, env);
  uncross(c);
  return error;
}
