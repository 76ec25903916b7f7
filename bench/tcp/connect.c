/*
 * Connections per second against a server that accepts and closes at once: `connect client ADDRESS PORT SECONDS PROCESSES` prints the
 * connections per second of all processes, each of which connects, waits for the end and closes, one after the other.
 * `connect server PORT` accepts and closes until it is ended.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

static int server(int port) {
  int l = socket(AF_INET, SOCK_STREAM, 0), one = 1;
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
  setsockopt(l, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(l, (struct sockaddr *)&a, sizeof a) || listen(l, 4096)) return 1;
  puts("ready");
  fflush(stdout);
  for (;;) {
    int s = accept(l, NULL, NULL);
    if (s >= 0) close(s);
  }
}

static long client(struct sockaddr_in *a, double until) {
  long count = 0;
  char byte;
  while (now() < until) {
    int s = socket(AF_INET, SOCK_STREAM, 0);
    struct timeval limit = {2, 0};
    setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    if (connect(s, (struct sockaddr *)a, sizeof *a) == 0 && read(s, &byte, 1) == 0) count++;
    close(s);
  }
  return count;
}

int main(int argc, char **argv) {
  if (argc == 3 && strcmp(argv[1], "server") == 0) return server(atoi(argv[2]));
  if (argc != 6) return 2;
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[3]))};
  inet_pton(AF_INET, argv[2], &a.sin_addr);
  double seconds = atof(argv[4]);
  int processes = atoi(argv[5]);
  long *counts = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  double until = now() + seconds;
  for (int i = 0; i < processes; i++)
    if (fork() == 0) {
      counts[i] = client(&a, until);
      _exit(0);
    }
  while (wait(NULL) > 0) {}
  long total = 0;
  for (int i = 0; i < processes; i++) total += counts[i];
  printf("%f\n", total / seconds);
  return 0;
}
