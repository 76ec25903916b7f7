// The Proxy-Wasm ABI in C without a library, for test modules: clang --target=wasm32 -nostdlib.
#pragma once
typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long i64;
#define IMPORT(name) __attribute__((import_module("env"), import_name(#name)))
#define WASI(name) __attribute__((import_module("wasi_snapshot_preview1"), import_name(#name)))
#define EXPORT(name) __attribute__((export_name(#name)))

IMPORT(proxy_log) u32 proxy_log(u32, const void *, u32);
IMPORT(proxy_get_current_time_nanoseconds) u32 proxy_get_current_time_nanoseconds(u64 *);
IMPORT(proxy_set_tick_period_milliseconds) u32 proxy_set_tick_period_milliseconds(u32);
IMPORT(proxy_get_status) u32 proxy_get_status(u32 *, u8 **, u32 *);
IMPORT(proxy_get_header_map_size) u32 proxy_get_header_map_size(u32, u32 *);
IMPORT(proxy_get_header_map_pairs) u32 proxy_get_header_map_pairs(u32, u8 **, u32 *);
IMPORT(proxy_set_header_map_pairs) u32 proxy_set_header_map_pairs(u32, const void *, u32);
IMPORT(proxy_get_header_map_value) u32 proxy_get_header_map_value(u32, const void *, u32, u8 **, u32 *);
IMPORT(proxy_add_header_map_value) u32 proxy_add_header_map_value(u32, const void *, u32, const void *, u32);
IMPORT(proxy_replace_header_map_value) u32 proxy_replace_header_map_value(u32, const void *, u32, const void *, u32);
IMPORT(proxy_remove_header_map_value) u32 proxy_remove_header_map_value(u32, const void *, u32);
IMPORT(proxy_get_buffer_bytes) u32 proxy_get_buffer_bytes(u32, u32, u32, u8 **, u32 *);
IMPORT(proxy_get_buffer_status) u32 proxy_get_buffer_status(u32, u32 *, u32 *);
IMPORT(proxy_set_buffer_bytes) u32 proxy_set_buffer_bytes(u32, u32, u32, const void *, u32);
IMPORT(proxy_continue_stream) u32 proxy_continue_stream(u32);
IMPORT(proxy_close_stream) u32 proxy_close_stream(u32);
IMPORT(proxy_continue_request) u32 proxy_continue_request(void);
IMPORT(proxy_continue_response) u32 proxy_continue_response(void);
IMPORT(proxy_clear_route_cache) u32 proxy_clear_route_cache(void);
IMPORT(proxy_get_configuration) u32 proxy_get_configuration(u8 **, u32 *);
IMPORT(proxy_get_log_level) u32 proxy_get_log_level(u32 *);
IMPORT(proxy_send_local_response) u32 proxy_send_local_response(u32, const void *, u32, const void *, u32, const void *, u32, u32);
IMPORT(proxy_http_call) u32 proxy_http_call(const void *, u32, const void *, u32, const void *, u32, const void *, u32, u32, u32 *);
IMPORT(proxy_grpc_call) u32 proxy_grpc_call(const void *, u32, const void *, u32, const void *, u32, const void *, u32, const void *, u32, u32, u32 *);
IMPORT(proxy_grpc_stream) u32 proxy_grpc_stream(const void *, u32, const void *, u32, const void *, u32, const void *, u32, u32 *);
IMPORT(proxy_grpc_send) u32 proxy_grpc_send(u32, const void *, u32, u32);
IMPORT(proxy_grpc_cancel) u32 proxy_grpc_cancel(u32);
IMPORT(proxy_grpc_close) u32 proxy_grpc_close(u32);
IMPORT(proxy_get_shared_data) u32 proxy_get_shared_data(const void *, u32, u8 **, u32 *, u32 *);
IMPORT(proxy_set_shared_data) u32 proxy_set_shared_data(const void *, u32, const void *, u32, u32);
IMPORT(proxy_register_shared_queue) u32 proxy_register_shared_queue(const void *, u32, u32 *);
IMPORT(proxy_resolve_shared_queue) u32 proxy_resolve_shared_queue(const void *, u32, const void *, u32, u32 *);
IMPORT(proxy_enqueue_shared_queue) u32 proxy_enqueue_shared_queue(u32, const void *, u32);
IMPORT(proxy_dequeue_shared_queue) u32 proxy_dequeue_shared_queue(u32, u8 **, u32 *);
IMPORT(proxy_define_metric) u32 proxy_define_metric(u32, const void *, u32, u32 *);
IMPORT(proxy_increment_metric) u32 proxy_increment_metric(u32, i64);
IMPORT(proxy_record_metric) u32 proxy_record_metric(u32, u64);
IMPORT(proxy_get_metric) u32 proxy_get_metric(u32, u64 *);
IMPORT(proxy_get_property) u32 proxy_get_property(const void *, u32, u8 **, u32 *);
IMPORT(proxy_set_property) u32 proxy_set_property(const void *, u32, const void *, u32);
IMPORT(proxy_set_effective_context) u32 proxy_set_effective_context(u32);
IMPORT(proxy_done) u32 proxy_done(void);
IMPORT(proxy_call_foreign_function) u32 proxy_call_foreign_function(const void *, u32, const void *, u32, u8 **, u32 *);
WASI(fd_write) u32 fd_write(u32, const void *, u32, u32 *);
WASI(environ_sizes_get) u32 environ_sizes_get(u32 *, u32 *);
WASI(environ_get) u32 environ_get(u8 **, u8 *);
WASI(clock_time_get) u32 clock_time_get(u32, u64, u64 *);
WASI(random_get) u32 random_get(void *, u32);
WASI(proc_exit) void proc_exit(u32);

// Memory: a bump allocator over the end of memory; the start of each callback may set it back.
extern u8 __heap_base;
static u32 heap_at = 0;
static u32 grown = 0;
#ifndef OWN_ALLOCATOR
EXPORT(malloc)
#endif
void *wasm_malloc(u32 size) {
  if (heap_at == 0) heap_at = (u32)&__heap_base;
  u32 at = (heap_at + 7) & ~7u;
  u32 end = at + size;
  u32 have = __builtin_wasm_memory_size(0) * 65536;
  if (end > have) {
    u32 pages = (end - have + 65535) / 65536;
    if (__builtin_wasm_memory_grow(0, pages) == (u32)-1) return 0;
    grown += pages;
  }
  heap_at = end;
  return (void *)at;
}

void *memcpy(void *to, const void *from, unsigned long n) {
  for (u32 i = 0; i < n; i++) ((u8 *)to)[i] = ((const u8 *)from)[i];
  return to;
}
void *memset(void *to, int c, unsigned long n) {
  for (u32 i = 0; i < n; i++) ((u8 *)to)[i] = (u8)c;
  return to;
}
static u32 len(const char *s) {
  u32 n = 0;
  while (s[n]) n++;
  return n;
}
#define S(text) text, (sizeof(text) - 1)

// Lines for the log, made of pieces.
static char line[8192];
static u32 at = 0;
static void put(const void *bytes, u32 n) {
  for (u32 i = 0; i < n && at < sizeof line; i++) line[at++] = ((const char *)bytes)[i];
}
static void puts_(const char *text) { put(text, len(text)); }
static void putn(u64 n) {
  char digits[20];
  u32 k = 0;
  do digits[k++] = '0' + n % 10; while (n /= 10);
  while (k) put(&digits[--k], 1);
}
static void say(void) {
  proxy_log(2, line, at);
  at = 0;
}
// "name=status" in the log.
static void status(const char *name, u32 s) {
  puts_(name);
  puts_("=");
  putn(s);
  say();
}
// "name=status:text"
static void result(const char *name, u32 s, const u8 *p, u32 n) {
  puts_(name);
  puts_("=");
  putn(s);
  puts_(":");
  if (s == 0) put(p, n);
  say();
}
static int equal(const u8 *p, u32 n, const char *text) {
  if (n != len(text)) return 0;
  for (u32 i = 0; i < n; i++) if (p[i] != (u8)text[i]) return 0;
  return 1;
}
// A serialised map of one to many pairs of C strings, ended by 0.
static u8 pairs_at[4096];
static u32 pairs(const char **list) {
  u32 count = 0;
  while (list[count * 2]) count++;
  u32 *words = (u32 *)pairs_at;
  words[0] = count;
  u32 to = 4 + 8 * count;
  for (u32 i = 0; i < count; i++) {
    for (u32 k = 0; k < 2; k++) {
      u32 n = len(list[2 * i + k]);
      words[1 + 2 * i + k] = n;
      memcpy(pairs_at + to, list[2 * i + k], n);
      pairs_at[to + n] = 0;
      to += n + 1;
    }
  }
  return to;
}
