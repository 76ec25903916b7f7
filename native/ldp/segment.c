/* Segments, rings, chunks and FIFOs in shared memory: the C counterpart of src/stack/svm. */
#define _GNU_SOURCE
#include "vcl.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE 4096u
#define LARGE_ORDER 4u
/* Of an arena that another process is in. It is there for some instructions; nobody waits for one that is stopped. */
#define LOCK_TRIES 2000
#define LOCK_PATIENT_TRIES 200
#ifndef F_GET_SEALS
#define F_GET_SEALS 1034
#define F_SEAL_SHRINK 2
#endif

static uint32_t round_up(uint32_t value, uint32_t unit) { return (value + unit - 1) / unit * unit; }

static int32_t load(const int32_t *word) { return __atomic_load_n(word, __ATOMIC_SEQ_CST); }

static void store(int32_t *word, int32_t value) { __atomic_store_n(word, value, __ATOMIC_SEQ_CST); }

/* --- segment --- */

static uint32_t ring_bytes(uint32_t capacity, uint32_t element_words) {
  return capacity == 0 ? 0 : round_up(RING_HEADER_BYTES + capacity * element_words * 4, 64);
}

static uint32_t queue_bytes(const struct segment *s) {
  return QUEUE_RINGS * 4 + ring_bytes(s->io_capacity, IO_ELEMENT_WORDS) + ring_bytes(s->control_capacity, CONTROL_ELEMENT_WORDS);
}

static bool plausible_ring(uint32_t n) { return n == 0 || (n >= 16 && n <= 1u << 20 && (n & (n - 1)) == 0); }

const char *segment_attach(struct segment *s, int fd) {
  struct stat status;
  int seals = fcntl(fd, F_GET_SEALS);
  if (seals < 0 || (seals & F_SEAL_SHRINK) == 0) return "memory is not sealed against shrinking";
  if (fstat(fd, &status) < 0 || status.st_size < 2 * PAGE || status.st_size > 1ll << 31) return "segment has an impossible size";
  memset(s, 0, sizeof *s);
  s->bytes = status.st_size;
  s->base = mmap(0, s->bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
  if (s->base == MAP_FAILED) return "no memory to map a segment";
  s->words = (int32_t *)s->base;
  const char *error = NULL;
  if (load(s->words + HEADER_MAGIC) != (int32_t)SEGMENT_MAGIC) error = "memory is not a segment";
  else if (s->words[HEADER_LAYOUT_VERSION] != LAYOUT_VERSION) error = "segment has another layout version";
  s->kind = s->words[HEADER_KIND];
  s->slots = s->words[HEADER_SLOTS];
  s->arena_pages = s->words[HEADER_ARENA_PAGES];
  s->io_capacity = s->words[HEADER_IO_RING_CAPACITY];
  s->control_capacity = s->words[HEADER_CONTROL_RING_CAPACITY];
  if (!error && (s->slots > 1u << 20 || s->arena_pages > 1u << 18 || !plausible_ring(s->io_capacity) ||
                 !plausible_ring(s->control_capacity)))
    error = "segment header is damaged";
  if (!error) {
    s->ring_offset = PAGE;
    s->slot_offset = round_up(s->ring_offset + 2 * queue_bytes(s), PAGE);
    s->table_offset = s->slot_offset + round_up(s->slots * SLOT_BYTES, PAGE);
    s->arena_first_page = (s->table_offset + round_up(2 * s->arena_pages * CHUNK_ENTRY_WORDS * 4, PAGE)) / PAGE;
    if ((size_t)(s->arena_first_page + 2 * s->arena_pages) * PAGE != s->bytes) error = "segment header does not agree with its size";
  }
  if (error) segment_detach(s);
  return error;
}

void segment_detach(struct segment *s) {
  if (s->base != NULL) munmap(s->base, s->bytes);
  s->base = NULL;
}

int32_t *segment_fifo(const struct segment *s, uint32_t slot, uint32_t direction) {
  return s->words + (s->slot_offset + slot * SLOT_BYTES + direction * (SLOT_BYTES / 2)) / 4;
}

/* --- rings and queues --- */

static void queue_parts(struct segment *s, uint32_t direction, int32_t **armed, struct ring *io, struct ring *control) {
  int32_t *base = s->words + (s->ring_offset + direction * queue_bytes(s)) / 4;
  *armed = base + QUEUE_ARMED;
  memset(io, 0, sizeof *io);
  memset(control, 0, sizeof *control);
  io->words = base + QUEUE_RINGS;
  io->capacity = s->io_capacity;
  io->element_words = IO_ELEMENT_WORDS;
  control->words = io->words + ring_bytes(s->io_capacity, IO_ELEMENT_WORDS) / 4;
  control->capacity = s->control_capacity;
  control->element_words = CONTROL_ELEMENT_WORDS;
}

static bool ring_has_room(struct ring *r) {
  uint32_t head = load(r->words + RING_HEAD);
  if (head - r->head > r->tail - r->head) r->corrupted = true;
  else r->head = head;
  return !r->corrupted && r->tail - r->head < r->capacity;
}

static int32_t *ring_reserve(struct ring *r) {
  if (r->corrupted) return NULL;
  if (r->tail - r->head >= r->capacity && !ring_has_room(r)) {
    store(r->words + RING_WANT_ROOM, 1);
    if (!ring_has_room(r)) return NULL;
  }
  return r->words + RING_ELEMENTS + (r->tail & (r->capacity - 1)) * r->element_words;
}

static void ring_publish(struct ring *r) { store(r->words + RING_TAIL, ++r->tail); }

static uint32_t ring_available(struct ring *r) {
  if (r->capacity == 0 || r->corrupted) return 0;
  uint32_t n = (uint32_t)load(r->words + RING_TAIL) - r->head;
  if (n <= r->capacity) return n;
  r->corrupted = true;
  return 0;
}

static const int32_t *ring_element(struct ring *r) {
  return r->words + RING_ELEMENTS + (r->head & (r->capacity - 1)) * r->element_words;
}

static void ring_consume(struct ring *r) { store(r->words + RING_HEAD, ++r->head); }

void queue_producer_init(struct queue_producer *q, struct segment *s, uint32_t direction, int ring_fd) {
  queue_parts(s, direction, &q->armed, &q->io, &q->control);
  q->ring_fd = ring_fd;
}

void queue_consumer_init(struct queue_consumer *q, struct segment *s, uint32_t direction) {
  queue_parts(s, direction, &q->armed, &q->io, &q->control);
}

void queue_signal(struct queue_producer *q) {
  uint64_t one = 1;
  if (load(q->armed) != 0 && __atomic_exchange_n(q->armed, 0, __ATOMIC_SEQ_CST) != 0) {
    ssize_t ignored = write(q->ring_fd, &one, sizeof one);
    (void)ignored;
  }
}

bool queue_send_io(struct queue_producer *q, int32_t event) {
  int32_t *at = ring_reserve(&q->io);
  if (at == NULL) return false;
  *at = event;
  ring_publish(&q->io);
  queue_signal(q);
  return true;
}

bool queue_send_control(struct queue_producer *q, const int32_t *message, bool lazy) {
  int32_t *at = ring_reserve(&q->control);
  if (at == NULL) return false;
  memcpy(at, message, CONTROL_ELEMENT_WORDS * 4);
  ring_publish(&q->control);
  if (!lazy) queue_signal(q);
  return true;
}

int32_t queue_take_io(struct queue_consumer *q) {
  if (ring_available(&q->io) == 0) return -1;
  int32_t event = *ring_element(&q->io) & 0x7fffffff;
  ring_consume(&q->io);
  return event;
}

bool queue_take_control(struct queue_consumer *q, int32_t *message) {
  if (ring_available(&q->control) == 0) return false;
  memcpy(message, ring_element(&q->control), CONTROL_ELEMENT_WORDS * 4);
  ring_consume(&q->control);
  return true;
}

bool queue_take_want_room(struct queue_consumer *q) {
  int32_t *word = q->control.words + RING_WANT_ROOM;
  return load(word) != 0 && __atomic_exchange_n(word, 0, __ATOMIC_SEQ_CST) != 0;
}

bool queue_arm(struct queue_consumer *q) {
  store(q->armed, 1);
  return ring_available(&q->io) == 0 && ring_available(&q->control) == 0;
}

/* --- chunks --- */

static int32_t *chunk_entry(const struct segment *s, uint32_t page) {
  return s->words + s->table_offset / 4 + (page - s->arena_first_page) * CHUNK_ENTRY_WORDS;
}

void arena_init(struct arena *a, struct segment *s, uint32_t side) {
  memset(a, 0, sizeof *a);
  a->segment = s;
  a->words = s->words + (side == 0 ? HEADER_ARENA0 : HEADER_ARENA1);
  a->used_pages = s->words + (side == 0 ? HEADER_USED_PAGES0 : HEADER_USED_PAGES1);
  a->first_page = s->arena_first_page + side * s->arena_pages;
  a->end_page = a->first_page + s->arena_pages;
}

/* What an arena knows is in the segment: after fork it is that of several processes. One that dies in it loses a page at most. */
static bool arena_lock(struct arena *a) {
  int32_t self = ldp_pid(), *lock = a->words + ARENA_LOCK;
  for (int tries = 0; tries < LOCK_TRIES; tries++) {
    int32_t holder = 0;
    if (__atomic_compare_exchange_n(lock, &holder, self, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) return true;
    if (tries % 16 == 15 && kill(holder, 0) < 0 && errno == ESRCH &&
        __atomic_compare_exchange_n(lock, &holder, self, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
      return true;
    if (tries < LOCK_PATIENT_TRIES) sched_yield();
    else usleep(100);
  }
  return false;
}

static void arena_unlock(struct arena *a) { store(a->words + ARENA_LOCK, 0); }

static bool in_arena(const struct arena *a, uint32_t page, uint32_t order) {
  return page >= a->first_page && page + (1u << order) <= a->end_page;
}

/* Free pages are chained through the chunk table. A chain that leads out of the arena ends there. */
static uint32_t pop(struct arena *a, int list, uint32_t order) {
  uint32_t page = a->words[list];
  if (page == 0) return 0;
  if (!in_arena(a, page, order)) {
    a->words[list] = 0;
    return 0;
  }
  a->words[list] = chunk_entry(a->segment, page)[CHUNK_NEXT];
  return page;
}

static void push(struct arena *a, int list, uint32_t page) {
  chunk_entry(a->segment, page)[CHUNK_NEXT] = a->words[list];
  a->words[list] = page;
}

/* A page, or 0. */
static uint32_t arena_alloc(struct arena *a, uint32_t order) {
  if (!arena_lock(a)) return 0;
  uint32_t next = a->words[ARENA_NEXT_PAGE] == 0 ? a->first_page : (uint32_t)a->words[ARENA_NEXT_PAGE];
  uint32_t page = pop(a, order > 0 ? ARENA_FREE_LARGE : ARENA_FREE_SMALL, order);
  if (page == 0 && in_arena(a, next, order)) {
    page = next;
    a->words[ARENA_NEXT_PAGE] = next + (1u << order);
  } else if (page == 0 && order == 0 && (page = pop(a, ARENA_FREE_LARGE, LARGE_ORDER)) != 0)
    for (uint32_t i = 1; i < 1u << LARGE_ORDER; i++) push(a, ARENA_FREE_SMALL, page + i);
  if (page != 0) *a->used_pages += 1 << order;
  arena_unlock(a);
  return page;
}

/* Where that is not possible the page is lost to this segment, and nothing else. */
static void arena_release(struct arena *a, uint32_t page, uint32_t order) {
  if (!arena_lock(a)) return;
  *a->used_pages -= 1 << order;
  push(a, order > 0 ? ARENA_FREE_LARGE : ARENA_FREE_SMALL, page);
  arena_unlock(a);
}

/* --- the writing end --- */

void fifo_producer_init(struct fifo_producer *f, struct arena *a, int32_t *header) {
  memset(f, 0, sizeof *f);
  f->arena = a;
  f->header = header;
}

static bool add_chunk(struct fifo_producer *f, struct chunk chunk) {
  if (f->count == f->room) {
    uint32_t wanted = f->room == 0 ? 8 : f->room * 2;
    struct chunk *grown = realloc(f->chunks, wanted * sizeof *grown);
    if (grown == NULL) return false;
    f->chunks = grown;
    f->room = wanted;
  }
  f->chunks[f->count++] = chunk;
  return true;
}

/* A chunk is free only when the consumer is inside the next one: until then it may still follow this one's link. */
static void release_read(struct fifo_producer *f) {
  uint32_t gone = 0;
  while (gone < f->tail_chunk && (int32_t)(f->head - f->chunks[gone + 1].start) > 0) gone++;
  if (gone == 0) return;
  store(f->header + FIFO_OLDEST_CHUNK, f->chunks[gone].page);
  for (uint32_t i = 0; i < gone; i++) arena_release(f->arena, f->chunks[i].page, f->chunks[i].order);
  f->count -= gone;
  f->tail_chunk -= gone;
  memmove(f->chunks, f->chunks + gone, f->count * sizeof *f->chunks);
}

void fifo_producer_resume(struct fifo_producer *f) {
  f->head = load(f->header + FIFO_HEAD);
  f->tail = load(f->header + FIFO_TAIL);
  f->count = f->tail_chunk = 0;
  f->corrupted = f->tail - f->head > f->arena->segment->arena_pages * PAGE;
  for (uint32_t page = load(f->header + FIFO_OLDEST_CHUNK); page != 0 && !f->corrupted;) {
    const int32_t *entry = in_arena(f->arena, page, 0) ? chunk_entry(f->arena->segment, page) : NULL;
    const struct chunk *last = f->count == 0 ? NULL : &f->chunks[f->count - 1];
    uint32_t start = entry == NULL ? 0 : entry[CHUNK_START], order = entry == NULL ? 0 : entry[CHUNK_ORDER];
    bool follows = last == NULL || start == last->start + (PAGE << last->order);
    f->corrupted = entry == NULL || (order != 0 && order != LARGE_ORDER) || !in_arena(f->arena, page, order) || !follows ||
                   f->count >= f->arena->segment->arena_pages || !add_chunk(f, (struct chunk){page, start, order});
    if (!f->corrupted) page = load(entry + CHUNK_NEXT);
  }
  while (!f->corrupted && f->tail_chunk + 1 < f->count && (int32_t)(f->tail - f->chunks[f->tail_chunk + 1].start) >= 0) f->tail_chunk++;
  if (f->count == 0 && f->tail != 0) f->corrupted = true;
  /* Whoever wrote before did not see how far the reader came since. */
  if (!f->corrupted) release_read(f);
}

void fifo_producer_forget(struct fifo_producer *f) {
  free(f->chunks);
  f->chunks = NULL;
  f->count = f->room = 0;
  f->corrupted = true;
}

void fifo_producer_release(struct fifo_producer *f) {
  for (uint32_t i = 0; i < f->count; i++) arena_release(f->arena, f->chunks[i].page, f->chunks[i].order);
  free(f->chunks);
  f->chunks = NULL;
  f->count = f->room = 0;
  f->corrupted = true;
}

static void load_head(struct fifo_producer *f) {
  uint32_t head = load(f->header + FIFO_HEAD);
  if (head == f->head) return;
  if (head - f->head > f->tail - f->head) {
    f->corrupted = true;
    return;
  }
  f->head = head;
  release_read(f);
}

uint32_t fifo_size(struct fifo_producer *f) {
  int32_t size = load(f->header + FIFO_SIZE);
  return size < (int32_t)PAGE ? PAGE : (uint32_t)size;
}

uint32_t fifo_queued(struct fifo_producer *f) {
  load_head(f);
  return f->corrupted ? 0 : f->tail - f->head;
}

uint32_t fifo_free(struct fifo_producer *f) {
  uint32_t size = fifo_size(f), used = fifo_queued(f);
  return f->corrupted || size <= used ? 0 : size - used;
}

static bool grow(struct fifo_producer *f, size_t need) {
  uint32_t order = need > PAGE ? LARGE_ORDER : 0;
  uint32_t page = arena_alloc(f->arena, order);
  if (page == 0 && order > 0) page = arena_alloc(f->arena, order = 0);
  if (page == 0) return false;
  struct chunk *last = f->count == 0 ? NULL : &f->chunks[f->count - 1];
  uint32_t start = last == NULL ? f->tail : last->start + (PAGE << last->order), before = last == NULL ? 0 : last->page;
  if (!add_chunk(f, (struct chunk){page, start, order})) {
    arena_release(f->arena, page, order);
    return false;
  }
  int32_t *entry = chunk_entry(f->arena->segment, page);
  entry[CHUNK_NEXT] = 0;
  entry[CHUNK_START] = start;
  entry[CHUNK_ORDER] = order;
  if (before != 0) store(chunk_entry(f->arena->segment, before) + CHUNK_NEXT, page);
  else {
    store(f->header + FIFO_OLDEST_CHUNK, page);
    store(f->header + FIFO_FIRST_CHUNK, page);
  }
  return true;
}

/* Behind `tail`, not visible yet; how much found memory. */
static size_t append(struct fifo_producer *f, uint32_t tail, const void *data, size_t length) {
  size_t done = 0;
  while (done < length) {
    while (f->tail_chunk < f->count && tail - f->chunks[f->tail_chunk].start >= PAGE << f->chunks[f->tail_chunk].order) {
      if (f->tail_chunk + 1 == f->count) break;
      f->tail_chunk++;
    }
    struct chunk *chunk = f->count == 0 ? NULL : &f->chunks[f->tail_chunk];
    if (chunk == NULL || tail - chunk->start >= PAGE << chunk->order) {
      if (!grow(f, length - done)) break;
      f->tail_chunk = f->count - 1;
      chunk = &f->chunks[f->tail_chunk];
    }
    uint32_t inside = tail - chunk->start;
    size_t n = (PAGE << chunk->order) - inside;
    if (n > length - done) n = length - done;
    memcpy(f->arena->segment->base + (size_t)chunk->page * PAGE + inside, (const uint8_t *)data + done, n);
    done += n;
    tail += n;
  }
  return done;
}

size_t fifo_write(struct fifo_producer *f, const void *data, size_t length) {
  uint32_t room = fifo_free(f);
  if (length > room) length = room;
  size_t done = append(f, f->tail, data, length);
  if (done > 0) store(f->header + FIFO_TAIL, f->tail += done);
  return done;
}

bool fifo_write_pair(struct fifo_producer *f, const void *head, size_t head_length, const void *data, size_t length) {
  if (fifo_free(f) < head_length + length) return false;
  uint32_t before = f->tail_chunk;
  if (append(f, f->tail, head, head_length) < head_length || append(f, f->tail + head_length, data, length) < length) {
    f->tail_chunk = before;
    return false;
  }
  store(f->header + FIFO_TAIL, f->tail += head_length + length);
  return true;
}

bool fifo_raise_event(struct fifo_producer *f) {
  int32_t *word = f->header + FIFO_HAS_EVENT;
  return load(word) == 0 && __atomic_exchange_n(word, 1, __ATOMIC_SEQ_CST) == 0;
}

bool fifo_want_room(struct fifo_producer *f, uint32_t threshold) {
  f->header[FIFO_DEQUEUE_THRESHOLD] = threshold;
  __atomic_or_fetch(f->header + FIFO_WANT_DEQUEUE_NOTIFY, DEQUEUE_NOTIFY_ROOM, __ATOMIC_SEQ_CST);
  if (fifo_free(f) < threshold && !f->corrupted) return false;
  __atomic_and_fetch(f->header + FIFO_WANT_DEQUEUE_NOTIFY, ~DEQUEUE_NOTIFY_ROOM, __ATOMIC_SEQ_CST);
  return true;
}

/* --- the reading end --- */

void fifo_consumer_init(struct fifo_consumer *f, struct segment *s, int32_t *header, uint32_t producer_side) {
  memset(f, 0, sizeof *f);
  f->segment = s;
  f->header = header;
  f->first_page = s->arena_first_page + producer_side * s->arena_pages;
  f->end_page = f->first_page + s->arena_pages;
}

void fifo_consumer_resume(struct fifo_consumer *f) {
  uint32_t page = load(f->header + FIFO_HEAD_CHUNK);
  f->head = f->tail = load(f->header + FIFO_HEAD);
  f->page = f->start = f->bytes = 0;
  f->corrupted = page == 0 ? f->head != 0 : page < f->first_page || page >= f->end_page;
  if (page == 0 || f->corrupted) return;
  const int32_t *entry = chunk_entry(f->segment, page);
  uint32_t order = entry[CHUNK_ORDER];
  f->page = page;
  f->start = entry[CHUNK_START];
  f->bytes = order <= MAX_CHUNK_ORDER ? PAGE << order : 0;
  f->corrupted = f->bytes == 0 || page + (1u << order) > f->end_page || f->head - f->start > f->bytes;
}

uint32_t fifo_level(const int32_t *header) { return (uint32_t)load(header + FIFO_TAIL) - (uint32_t)load(header + FIFO_HEAD); }

/* --- of several processes --- */

bool slot_enter(int32_t *header, int32_t worker) {
  return __atomic_compare_exchange_n(header + FIFO_OWNER, &(int32_t){worker}, worker | OWNER_BUSY, false, __ATOMIC_SEQ_CST,
                                     __ATOMIC_SEQ_CST);
}

void slot_leave(int32_t *header, int32_t worker) { store(header + FIFO_OWNER, worker); }

/* --- bytes --- */

uint32_t fifo_used(struct fifo_consumer *f) {
  uint32_t tail = load(f->header + FIFO_TAIL);
  if (tail - f->head > f->segment->arena_pages * PAGE || tail - f->head < f->tail - f->head) f->corrupted = true;
  else f->tail = tail;
  return f->corrupted ? 0 : f->tail - f->head;
}

/* Follows the link to the chunk that starts at `position`. */
static bool enter_next(struct fifo_consumer *f, uint32_t position) {
  uint32_t page = load(f->page == 0 ? f->header + FIFO_FIRST_CHUNK : chunk_entry(f->segment, f->page) + CHUNK_NEXT);
  if (page >= f->first_page && page < f->end_page) {
    const int32_t *entry = chunk_entry(f->segment, page);
    uint32_t start = entry[CHUNK_START], order = entry[CHUNK_ORDER];
    if (start == position && order <= MAX_CHUNK_ORDER && page + (1u << order) <= f->end_page) {
      f->page = page;
      f->start = start;
      f->bytes = PAGE << order;
      return true;
    }
  }
  f->corrupted = true;
  return false;
}

size_t fifo_read(struct fifo_consumer *f, void *data, size_t length, bool peek) {
  struct fifo_consumer before = *f;
  uint32_t used = fifo_used(f);
  if (length > used) length = used;
  size_t done = 0;
  uint32_t head = f->head;
  while (done < length) {
    uint32_t inside = head - f->start;
    if (inside >= f->bytes) {
      if (!enter_next(f, head)) break;
      inside = 0;
    }
    size_t n = f->bytes - inside;
    if (n > length - done) n = length - done;
    if (data != NULL) memcpy((uint8_t *)data + done, f->segment->base + (size_t)f->page * PAGE + inside, n);
    done += n;
    head += n;
  }
  if (peek) {
    f->page = before.page;
    f->start = before.start;
    f->bytes = before.bytes;
  } else if (done > 0) {
    f->header[FIFO_HEAD_CHUNK] = f->page;
    store(f->header + FIFO_HEAD, f->head = head);
  }
  return done;
}

void fifo_clear_event(struct fifo_consumer *f) { store(f->header + FIFO_HAS_EVENT, 0); }

bool fifo_should_notify(struct fifo_consumer *f) {
  int32_t wanted = load(f->header + FIFO_WANT_DEQUEUE_NOTIFY), due = 0;
  if (wanted == 0) return false;
  uint32_t used = fifo_used(f), size = f->header[FIFO_SIZE], threshold = f->header[FIFO_DEQUEUE_THRESHOLD];
  if (threshold > size) threshold = size;
  if ((wanted & DEQUEUE_NOTIFY_ROOM) != 0 && size - used >= threshold) due |= DEQUEUE_NOTIFY_ROOM;
  if ((wanted & DEQUEUE_NOTIFY_EMPTY) != 0 && used == 0) due |= DEQUEUE_NOTIFY_EMPTY;
  return due != 0 && (__atomic_fetch_and(f->header + FIFO_WANT_DEQUEUE_NOTIFY, ~due, __ATOMIC_SEQ_CST) & due) != 0;
}
