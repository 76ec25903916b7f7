/* The yardstick: two threads, one shared-memory ring, copy in and copy out, spinning. Usage: ring WRITE_BYTES RING_BYTES SECONDS */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

static struct {
  _Alignas(64) atomic_ulong tail;
  _Alignas(64) atomic_ulong head;
} ring;
static size_t write_bytes, ring_bytes;
static atomic_ulong total = ~0ul;
static char *data;

static void *reader(void *unused) {
  char *target = malloc(write_bytes);
  unsigned long head = 0;
  memset(target, 1, write_bytes);
  while (head < total) {
    unsigned long available = atomic_load_explicit(&ring.tail, memory_order_acquire) - head;
    if (available == 0) continue;
    size_t n = available < write_bytes ? available : write_bytes;
    size_t at = head & (ring_bytes - 1), first = ring_bytes - at < n ? ring_bytes - at : n;
    memcpy(target, data + at, first);
    memcpy(target + first, data, n - first);
    head += n;
    atomic_store_explicit(&ring.head, head, memory_order_release);
  }
  return unused;
}

int main(int argc, char **argv) {
  if (argc != 4) return 2;
  write_bytes = strtoul(argv[1], 0, 10);
  ring_bytes = strtoul(argv[2], 0, 10);
  double limit = strtod(argv[3], 0), seconds = 0;
  data = mmap(0, ring_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  char *source = malloc(write_bytes);
  memset(source, 7, write_bytes);
  pthread_t thread;
  struct timespec start, end;
  pthread_create(&thread, 0, reader, 0);
  clock_gettime(CLOCK_MONOTONIC, &start);
  unsigned long tail = 0, turns = 0;
  for (;;) {
    if ((++turns & 255) == 0) {
      clock_gettime(CLOCK_MONOTONIC, &end);
      seconds = (end.tv_sec - start.tv_sec) + (end.tv_nsec - start.tv_nsec) / 1e9;
      if (seconds > limit) break;
    }
    size_t room = ring_bytes - (tail - atomic_load_explicit(&ring.head, memory_order_acquire));
    size_t n = write_bytes;
    if (n > room) n = room;
    if (n == 0) continue;
    size_t at = tail & (ring_bytes - 1), first = ring_bytes - at < n ? ring_bytes - at : n;
    memcpy(data + at, source, first);
    memcpy(data, source + first, n - first);
    tail += n;
    atomic_store_explicit(&ring.tail, tail, memory_order_release);
  }
  atomic_store(&total, tail);
  pthread_join(thread, 0);
  clock_gettime(CLOCK_MONOTONIC, &end);
  seconds = (end.tv_sec - start.tv_sec) + (end.tv_nsec - start.tv_nsec) / 1e9;
  printf("%.3f\n", tail * 8 / seconds / 1e9);
  return 0;
}
