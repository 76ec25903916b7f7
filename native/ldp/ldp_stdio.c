/*
 * The C library's streams over descriptors of sessions: it reads and writes by itself, past the calls of that name. A stream that is
 * opened for such a descriptor, and the standard ones when they become one (a program that a server has started), call ours.
 */
#define _GNU_SOURCE
#include "ldp.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

DECLARE_LIBC(fdopen);
DECLARE_LIBC(fileno);

/* Streams of ours. */
struct stream {
  int fd;
  FILE *file;
  struct stream *next;
};

static struct stream *streams;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static FILE *originals[3];

static ssize_t read_stream(void *cookie, char *data, size_t length) { return read(((struct stream *)cookie)->fd, data, length); }

static ssize_t write_stream(void *cookie, const char *data, size_t length) {
  ssize_t n = write(((struct stream *)cookie)->fd, data, length);
  return n < 0 ? 0 : n;
}

static int close_stream(void *cookie) {
  struct stream *stream = cookie;
  pthread_mutex_lock(&mutex);
  for (struct stream **at = &streams; *at != NULL; at = &(*at)->next) {
    if (*at != stream) continue;
    *at = stream->next;
    break;
  }
  pthread_mutex_unlock(&mutex);
  int result = close(stream->fd);
  free(stream);
  return result;
}

static FILE *open_stream(int fd, const char *mode) {
  struct stream *stream = malloc(sizeof *stream);
  if (stream == NULL) return NULL;
  *stream = (struct stream){.fd = fd};
  stream->file = fopencookie(stream, mode, (cookie_io_functions_t){.read = read_stream, .write = write_stream, .close = close_stream});
  if (stream->file == NULL) {
    free(stream);
    return NULL;
  }
  pthread_mutex_lock(&mutex);
  stream->next = streams;
  streams = stream;
  pthread_mutex_unlock(&mutex);
  return stream->file;
}

FILE *fdopen(int fd, const char *mode) { return ldp_is_session(fd) ? open_stream(fd, mode) : LIBC(fdopen)(fd, mode); }

int fileno(FILE *file) {
  int fd = -1;
  pthread_mutex_lock(&mutex);
  for (struct stream *s = streams; s != NULL && fd < 0; s = s->next)
    if (s->file == file) fd = s->fd;
  pthread_mutex_unlock(&mutex);
  return fd >= 0 ? fd : LIBC(fileno)(file);
}

int fileno_unlocked(FILE *file) { return fileno(file); }

/* --- the standard ones --- */

static FILE **standard(int fd) { return fd == 0 ? &stdin : fd == 1 ? &stdout : fd == 2 ? &stderr : NULL; }

void ldp_stdio_follow(int fd) {
  FILE **at = standard(fd);
  if (at == NULL || originals[fd] != NULL) return;
  FILE *made = open_stream(fd, fd == 0 ? "r" : "w");
  if (made == NULL) return;
  if (fd == 2) setvbuf(made, NULL, _IONBF, 0);
  originals[fd] = *at;
  *at = made;
}

void ldp_stdio_restore(int fd) {
  FILE **at = standard(fd);
  if (at == NULL || originals[fd] == NULL) return;
  if (fd != 0) fflush(*at);
  *at = originals[fd];
  originals[fd] = NULL;
}
