/*
 * Which sockets go to the host stack: `sluice exec --rule`, as src/stack/vcl/preload/rules.ts wrote them for us: one per line,
 * "connect|listen FAMILY ADDRESS LENGTH FIRST LAST VERDICT" with FAMILY 0 for any address, 4 or 6, ADDRESS as 32 hexadecimal digits and
 * VERDICT stack, kernel or auto. The first that matches decides; then `connect * auto`, `listen * stack`.
 */
#define _GNU_SOURCE
#include "ldp.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_RULES 256

static struct rule {
  bool connect;
  int family, length;
  uint32_t words[4];
  unsigned first, last;
  enum verdict verdict;
} rules[MAX_RULES];
static int count;

__attribute__((constructor)) static void read_rules(void) {
  const char *at = getenv("SLUICE_LDP_RULES");
  while (at != NULL && *at != 0 && count < MAX_RULES) {
    struct rule *r = &rules[count];
    char operation[8], address[33], verdict[8];
    int n = sscanf(at, "%7s %d %32s %d %u %u %7s", operation, &r->family, address, &r->length, &r->first, &r->last, verdict);
    if (n == 7 && strlen(address) == 32 && r->length >= 0 && r->length <= 128) {
      for (int i = 0; i < 4; i++) {
        char word[9] = {0};
        memcpy(word, address + 8 * i, 8);
        r->words[i] = strtoul(word, NULL, 16);
      }
      r->connect = operation[0] == 'c';
      r->verdict = verdict[0] == 's' ? TO_STACK : verdict[0] == 'k' ? TO_KERNEL : TO_AUTO;
      count++;
    } else {
      /* Better no connection than one that goes elsewhere than it should. */
      fprintf(stderr, "sluice: SLUICE_LDP_RULES is damaged\n");
      exit(1);
    }
    at = strchr(at, '\n');
    if (at != NULL) at++;
  }
}

static bool matches(const struct rule *r, const struct endpoint *e) {
  if (e->port < r->first || e->port > r->last) return false;
  if (r->family == 0) return true;
  if ((r->family == 4) != e->is_v4) return false;
  for (int i = 0; i * 32 < r->length; i++) {
    int bits = r->length - i * 32;
    uint32_t mask = bits >= 32 ? 0xffffffff : ~(0xffffffffu >> bits);
    if ((((uint32_t)e->words[i] ^ r->words[i]) & mask) != 0) return false;
  }
  return true;
}

enum verdict ldp_decide(bool connect, const struct endpoint *e) {
  for (int i = 0; i < count; i++)
    if (rules[i].connect == connect && matches(&rules[i], e)) return rules[i].verdict;
  return connect ? TO_AUTO : TO_STACK;
}
