/*
 * Options: most are kept by the kernel socket that stands for the session, and read back from it. Those that mean something to the stack's
 * transports are handed on (keepalive, no delay, segment size, user timeout, congestion control); those that would not be honoured, and
 * whose effect a program relies on, are refused.
 */
#define _GNU_SOURCE
#include "ldp.h"

#include <errno.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif
#define SOL_UDP_ 17
/* What TCP_MAXSEG says of a connection: on Ethernet with timestamps, and as Linux' on its loopback. */
#define NETWORK_SEGMENT 1448
#define LOOPBACK_SEGMENT 65483

DECLARE_LIBC(getsockopt);
DECLARE_LIBC(setsockopt);
DECLARE_LIBC(ioctl);

static const struct {
  int level, name, attribute;
} attributes[] = {
    {SOL_SOCKET, SO_KEEPALIVE, ATTRIBUTE_KEEPALIVE},
    {IPPROTO_TCP, TCP_NODELAY, ATTRIBUTE_TCP_NODELAY},
    {IPPROTO_TCP, TCP_KEEPIDLE, ATTRIBUTE_TCP_KEEPIDLE},
    {IPPROTO_TCP, TCP_KEEPINTVL, ATTRIBUTE_TCP_KEEPINTVL},
    {IPPROTO_TCP, TCP_KEEPCNT, ATTRIBUTE_TCP_KEEPCNT},
    {IPPROTO_TCP, TCP_MAXSEG, ATTRIBUTE_TCP_USER_MSS},
    {IPPROTO_TCP, TCP_USER_TIMEOUT, ATTRIBUTE_TCP_USER_TIMEOUT},
};

int getsockopt(int fd, int level, int name, void *value, socklen_t *length) {
  if (!ldp_is_session(fd)) return LIBC(getsockopt)(fd, level, name, value, length);
  if (level == IPPROTO_TCP && name == TCP_INFO) {
    int result = LIBC(getsockopt)(fd, level, name, value, length);
    struct session *s = ldp_session(fd);
    if (result == 0 && *length > 0 && s != NULL) *(uint8_t *)value = s->state == SESSION_READY ? 1 /* TCP_ESTABLISHED */ : 7 /* TCP_CLOSE */;
    return result;
  }
  if (level == IPPROTO_TCP && name == TCP_MAXSEG && value != NULL && length != NULL && *length >= sizeof(int)) {
    vcl_lock();
    struct session *s = ldp_session(fd);
    int segment = s == NULL || s->end == NULL ? 0 : (s->attributes_set & 1u << ATTRIBUTE_TCP_USER_MSS) != 0 ? s->attributes[ATTRIBUTE_TCP_USER_MSS]
                  : session_has_transport(s) ? (s->local.is_v4 ? NETWORK_SEGMENT : NETWORK_SEGMENT - 20) : LOOPBACK_SEGMENT;
    vcl_unlock();
    if (segment > 0) {
      *(int *)value = segment;
      *length = sizeof(int);
      return 0;
    }
  }
  if (level != SOL_SOCKET || (name != SO_ERROR && name != SO_ACCEPTCONN)) return LIBC(getsockopt)(fd, level, name, value, length);
  if (value == NULL || length == NULL || *length < sizeof(int)) return ldp_failed(EINVAL);
  vcl_lock();
  worker_drain();
  struct session *s = ldp_session(fd);
  if (s != NULL) {
    *(int *)value = name == SO_ERROR ? s->error : s->state == SESSION_LISTENING;
    /* Reading the error of a failed connect clears it, as the kernel does. */
    if (name == SO_ERROR) s->error = 0;
    *length = sizeof(int);
  }
  vcl_unlock();
  /* The answer to its connect has made it the kernel's. */
  return s == NULL ? LIBC(getsockopt)(fd, level, name, value, length) : 0;
}

static void apply(struct session *s, int level, int name, const void *value, socklen_t length) {
  if (level == IPPROTO_IPV6 && name == IPV6_V6ONLY && length >= sizeof(int)) s->v6only = *(const int *)value != 0;
  if (level == SOL_SOCKET && name == SO_LINGER && length >= sizeof(struct linger)) {
    const struct linger *linger = value;
    s->reset_on_close = linger->l_onoff != 0 && linger->l_linger == 0;
  }
  if (s->datagram) return;
  if (level == IPPROTO_TCP && name == TCP_CONGESTION) {
    static const char *const names[] = {[CONGESTION_NEWRENO] = "reno", [CONGESTION_CUBIC] = "cubic", [CONGESTION_BBR] = "bbr"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
      if (names[i] != NULL && strnlen(value, length) == strlen(names[i]) && memcmp(value, names[i], strlen(names[i])) == 0)
        session_attribute(s, ATTRIBUTE_TCP_CONGESTION, i);
    return;
  }
  if (length < sizeof(int)) return;
  int number = *(const int *)value;
  for (size_t i = 0; i < sizeof attributes / sizeof *attributes; i++) {
    if (attributes[i].level != level || attributes[i].name != name) continue;
    bool flag = attributes[i].attribute == ATTRIBUTE_KEEPALIVE || attributes[i].attribute == ATTRIBUTE_TCP_NODELAY;
    session_attribute(s, attributes[i].attribute, flag ? number != 0 : number);
  }
  if ((level == IPPROTO_IP && name == IP_TOS) || (level == IPPROTO_IPV6 && name == IPV6_TCLASS))
    session_attribute(s, ATTRIBUTE_DSCP, (number & 0xff) >> 2);
}

/* What a program would rely on and not get. */
static bool is_refused(const struct session *s, int level, int name) {
  if (s->datagram && level == SOL_UDP_ && (name == UDP_SEGMENT || name == UDP_GRO)) return true;
  if (level == IPPROTO_TCP && (name == TCP_ULP || name == TCP_REPAIR || name == TCP_FASTOPEN_CONNECT)) return true;
  if (level == SOL_SOCKET && (name == SO_ATTACH_REUSEPORT_CBPF || name == SO_ATTACH_REUSEPORT_EBPF || name == SO_ZEROCOPY)) return true;
  return level == IPPROTO_IP && name == IP_TRANSPARENT;
}

int setsockopt(int fd, int level, int name, const void *value, socklen_t length) {
  if (!ldp_is_session(fd)) return LIBC(setsockopt)(fd, level, name, value, length);
  if (is_refused(ldp_session(fd), level, name)) return ldp_failed(ENOPROTOOPT);
  int result = LIBC(setsockopt)(fd, level, name, value, length);
  bool unknown_to_kernel = result != 0 && errno == ENOENT && level == IPPROTO_TCP && name == TCP_CONGESTION;
  if ((result != 0 && !unknown_to_kernel) || value == NULL) return result;
  vcl_lock();
  struct session *s = ldp_session(fd);
  uint32_t before = s == NULL ? 0 : s->attributes_set;
  if (s != NULL) apply(s, level, name, value, length);
  /* The kernel need not have the congestion control that the stack has. */
  if (unknown_to_kernel && s != NULL && (s->attributes_set & 1u << ATTRIBUTE_TCP_CONGESTION & ~before) != 0) result = 0;
  vcl_unlock();
  return result;
}

int ioctl(int fd, unsigned long what, ...) {
  va_list list;
  va_start(list, what);
  void *argument = va_arg(list, void *);
  va_end(list);
  if ((what != FIONREAD && what != SIOCOUTQ) || !ldp_is_session(fd)) return LIBC(ioctl)(fd, what, argument);
  vcl_lock();
  worker_drain();
  if (ldp_is_session(fd)) share_wait(ldp_session(fd));
  struct session *s = ldp_session(fd);
  int n = 0, error = s != NULL && s->state == SESSION_LISTENING && !s->datagram ? EINVAL : 0;
  if (s != NULL && s->datagram) n = what == FIONREAD ? datagram_next_length(s) : 0;
  else if (s != NULL && s->shared) n = what == FIONREAD ? share_readable(s) : share_written(s);
  else if (s != NULL && s->end != NULL) n = what == FIONREAD ? fifo_used(&s->rx) : fifo_queued(&s->tx);
  vcl_unlock();
  if (s == NULL) return LIBC(ioctl)(fd, what, argument);
  if (error != 0) return ldp_failed(error);
  *(int *)argument = n;
  return 0;
}
