/* The exchange on the application socket (src/stack/session/sapi.ts): JSON in packets, descriptors beside it. */
#define _GNU_SOURCE
#include "vcl.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define ATTACH_TIMEOUT_MS 5000
#define FIFO_BYTES (1 << 20)
#define MAX_FDS 4

extern char *program_invocation_short_name;

/* Read before the program starts: some change their environment (nginx clears it). */
static struct sockaddr_un address;
static char app_name[64], secret[64];

/* JSON's string of at most 63 bytes: what would need an escape becomes a dot. */
static void quote(char *to, const char *from) {
  size_t n = 0;
  for (; from != NULL && from[n] != 0 && n < 63; n++) to[n] = from[n] < ' ' || from[n] == '"' || from[n] == '\\' ? '.' : from[n];
  to[n] = 0;
}

__attribute__((constructor)) static void read_environment(void) {
  const char *directory = getenv("SLUICE_RUNTIME_DIR");
  const char *space = getenv("VCL_APP_NAMESPACE_ID");
  const char *temporary = getenv("TMPDIR");
  const char *name = getenv("LDP_APP_NAME");
  char standard[64];
  snprintf(standard, sizeof standard, "%.50s/sluice", temporary == NULL ? "/tmp" : temporary);
  int n = snprintf(address.sun_path, sizeof address.sun_path, "%s/app_ns_sockets/%s", directory == NULL ? standard : directory,
                   space == NULL ? "default" : space);
  if (n >= 0 && (size_t)n < sizeof address.sun_path) address.sun_family = AF_UNIX;
  quote(app_name, name == NULL ? program_invocation_short_name : name);
  quote(secret, getenv("VCL_APP_NAMESPACE_SECRET"));
}

int connect_stack(void) {
  if (address.sun_family != AF_UNIX) return -1;
  int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return -1;
  if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0) return fd;
  kernel_close(fd);
  return -1;
}

/* Bytes of the packet, 0 when there is none, -1 when the other side has gone. */
static ssize_t receive(int socket, char *data, size_t size, int *fds, int *count) {
  union {
    struct cmsghdr header;
    char space[CMSG_SPACE(MAX_FDS * sizeof(int))];
  } control;
  struct iovec iov = {data, size - 1};
  struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
  *count = 0;
  ssize_t n = recvmsg(socket, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  if (n < 0) return errno == EAGAIN || errno == EINTR ? 0 : -1;
  for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c != NULL; c = CMSG_NXTHDR(&message, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    *count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    memcpy(fds, CMSG_DATA(c), *count * sizeof(int));
  }
  if (n == 0) return -1;
  data[n] = 0;
  return n;
}

static void close_all(const int *fds, int count) {
  for (int i = 0; i < count; i++) kernel_close(fds[i]);
}

/* Where the value of a field of this flat object begins; NULL: it has none. What the stack writes has no blanks. */
static const char *field(const char *json, const char *name) {
  char key[40];
  snprintf(key, sizeof key, "\"%s\":", name);
  const char *at = strstr(json, key);
  return at == NULL ? NULL : at + strlen(key);
}

static int number(const char *json, const char *name) {
  const char *at = field(json, name);
  return at == NULL ? -1 : atoi(at);
}

static bool text(const char *json, const char *name, char *to, size_t size) {
  const char *at = field(json, name);
  if (at == NULL || *at++ != '"') return false;
  size_t n = strcspn(at, "\"");
  if (n >= size) n = size - 1;
  memcpy(to, at, n);
  to[n] = 0;
  return true;
}

const char *attach(struct attachment *a, enum attach_as as, int socket) {
  static char error[200];
  char data[4096], type[20];
  int fds[MAX_FDS], count = 0;
  if (socket < 0) socket = connect_stack();
  if (socket < 0) return "no host stack is listening (SLUICE_RUNTIME_DIR)";
  int n = as == ATTACH_WORKER
                ? snprintf(data, sizeof data, "{\"type\":\"addWorker\",\"layoutVersion\":%d,\"appIndex\":%d,\"token\":\"%s\"}",
                           LAYOUT_VERSION, a->app_index, a->token)
                : snprintf(data, sizeof data,
                           "{\"type\":\"attach\",\"layoutVersion\":%d,\"name\":\"%s\",\"secret\":\"%s\",\"rxFifoSize\":%d,"
                           "\"txFifoSize\":%d,\"scopeLocal\":true,\"scopeGlobal\":true}",
                           LAYOUT_VERSION, app_name, secret, FIFO_BYTES, FIFO_BYTES);
  ssize_t got = as == ATTACH_HEIR || send(socket, data, n, MSG_NOSIGNAL) == n ? 0 : -1;
  struct pollfd wait = {.fd = socket, .events = POLLIN};
  if (got == 0 && poll(&wait, 1, ATTACH_TIMEOUT_MS) == 1) got = receive(socket, data, sizeof data, fds, &count);
  if (got <= 0) snprintf(error, sizeof error, "the host stack does not answer");
  else if (!text(data, "type", type, sizeof type) || strcmp(type, "attached") != 0 || count != 3) {
    char reason[120] = "unexpected answer";
    text(data, "reason", reason, sizeof reason);
    snprintf(error, sizeof error, "the host stack refused: %s", reason);
  } else {
    const char *why = segment_attach(&a->segment, fds[0]);
    if (why == NULL && a->segment.kind != SEGMENT_KIND_MESSAGE_QUEUE) why = "segment has the wrong kind";
    if (why == NULL) {
      kernel_close(fds[0]);
      a->socket = internal_fd(socket);
      a->stack_fd = internal_fd(fds[1]);
      a->bell_fd = internal_fd(fds[2]);
      a->app_index = number(data, "appIndex");
      a->worker_index = number(data, "workerIndex");
      text(data, "token", a->token, sizeof a->token);
      return NULL;
    }
    snprintf(error, sizeof error, "%s", why);
  }
  close_all(fds, count);
  kernel_close(socket);
  return error;
}

bool send_heir(int socket, int id, int heir) {
  union {
    struct cmsghdr header;
    char space[CMSG_SPACE(sizeof(int))];
  } control = {0};
  char data[60];
  struct iovec iov = {data, snprintf(data, sizeof data, "{\"type\":\"heir\",\"id\":%d}", id)};
  struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
  control.header = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
  memcpy(CMSG_DATA(&control.header), &heir, sizeof heir);
  return sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT) > 0;
}

void send_unlisten(int socket, const struct session *s) {
  char data[100];
  int n = snprintf(data, sizeof data, "{\"type\":\"unlisten\",\"session\":%d,\"generation\":%d}", s->stack_index, s->stack_generation);
  if (send(socket, data, n, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) return;
}

int receive_segment(int socket, int32_t *id, uint32_t *side, int fds[3]) {
  char data[4096], type[20];
  int got[MAX_FDS], count;
  ssize_t n = receive(socket, data, sizeof data, got, &count);
  if (n <= 0) return n;
  if (!text(data, "type", type, sizeof type) || strcmp(type, "segment") != 0 || count < 1 || count > 3) {
    close_all(got, count);
    return receive_segment(socket, id, side, fds);
  }
  *id = number(data, "id");
  *side = number(data, "side") == 1;
  fds[0] = got[0];
  fds[1] = count >= 2 ? internal_fd(got[1]) : -1;
  fds[2] = count == 3 ? internal_fd(got[2]) : -1;
  return 1;
}
