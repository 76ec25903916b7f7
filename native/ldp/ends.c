/* What a worker shares with its peers: segments, taken over the socket when they are first mentioned (src/stack/vcl/segment_ends.ts). */
#define _GNU_SOURCE
#include "vcl.h"

#include <stdlib.h>

struct segment_end *worker_ends;

void end_free(struct segment_end *end) {
  if (end->to_peer.ring_fd >= 0) kernel_close(end->to_peer.ring_fd);
  if (end->bell_fd >= 0) kernel_close(end->bell_fd);
  segment_detach(&end->segment);
  free(end->sessions);
  free(end);
}

void end_release(struct segment_end *end) {
  if (!end->deleted || end->in_use > 0) return;
  for (struct segment_end **at = &worker_ends; *at != NULL; at = &(*at)->next) {
    if (*at != end) continue;
    *at = end->next;
    break;
  }
  end_free(end);
}

/* Takes the segments that have come over the socket: they were sent before the message that mentions them. */
static void fetch_segments(void) {
  int fds[3], got;
  int32_t id;
  uint32_t side;
  while ((got = receive_segment(worker_socket(), &id, &side, fds)) > 0) {
    struct segment_end *end = calloc(1, sizeof *end);
    const char *error = end == NULL ? "no memory" : segment_attach(&end->segment, fds[0]);
    if (error == NULL && end->segment.kind != SEGMENT_KIND_FIFO) error = "segment has the wrong kind";
    if (error == NULL && (end->sessions = calloc(end->segment.slots, sizeof *end->sessions)) == NULL) error = "no memory";
    kernel_close(fds[0]);
    if (error != NULL) {
      if (end != NULL) segment_detach(&end->segment);
      free(end);
      if (fds[1] >= 0) kernel_close(fds[1]);
      if (fds[2] >= 0) kernel_close(fds[2]);
      continue;
    }
    end->id = id;
    end->side = side;
    end->bell_fd = fds[2];
    end->borrowed = fds[1] < 0;
    arena_init(&end->arena, &end->segment, side);
    queue_producer_init(&end->to_peer, &end->segment, side, fds[1]);
    queue_consumer_init(&end->from_peer, &end->segment, 1 - side);
    end->next = worker_ends;
    worker_ends = end;
    if (end->bell_fd >= 0) worker_add_bell(end->bell_fd, end);
  }
  if (got < 0) worker_stack_gone();
}

struct segment_end *worker_find_end(const int32_t *m) {
  uint32_t side = (m[MESSAGE_FLAGS] & MESSAGE_FLAG_SIDE) != 0;
  for (int attempt = 0; attempt < 2; attempt++) {
    for (struct segment_end *end = worker_ends; end != NULL; end = end->next)
      if (end->id == m[MESSAGE_SEGMENT_ID] && end->side == side) return end;
    if (attempt == 0) fetch_segments();
  }
  return NULL;
}
