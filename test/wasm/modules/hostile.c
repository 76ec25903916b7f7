// Everything a module must not be able to do harm with. The request's header `x-do` says what.
#define OWN_ALLOCATOR
#include "proxy_wasm.h"
EXPORT(proxy_abi_version_0_2_1) void marker(void) {}
static u8 what[64];
static u32 what_len, lie = 0, token;
#define IS(text) equal(what, what_len, text)

static u32 recurse(u32 n) {
  volatile u8 room[256];
  room[0] = (u8)n;
  return n + recurse(n + 1) + room[0];
}

EXPORT(proxy_on_memory_allocate) void *liar(u32 size) {
  switch (lie) {
    case 1: return (void *)0xfffffff0;  // beyond memory
    case 2: return 0;
    case 3: __builtin_trap();
    case 4: proxy_send_local_response(200, "", 0, "", 0, "", 0, 0); return 0; // not allowed here
  }
  return wasm_malloc(size);
}

static void all_wrong(void) {
  u8 *p;
  u32 n, bad = 0xffffff00, t;
  void *w = (void *)bad;
  status("log", proxy_log(2, w, 1000));
  status("pairs", proxy_get_header_map_pairs(0, (u8 **)w, (u32 *)w));
  status("set pairs", proxy_set_header_map_pairs(0, w, 1000));
  status("set pairs broken", proxy_set_header_map_pairs(1, "\x01\x02", 2));
  status("value", proxy_get_header_map_value(0, w, 4, &p, &n));
  status("add", proxy_add_header_map_value(0, w, 4, w, 4));
  status("replace", proxy_replace_header_map_value(0, S("a"), w, 4));
  status("remove", proxy_remove_header_map_value(0, w, 4));
  status("buffer", proxy_get_buffer_bytes(0, 0xffffffff, 0xffffffff, (u8 **)w, &n));
  status("set buffer", proxy_set_buffer_bytes(0, 0, 0, w, 1000));
  status("local response", proxy_send_local_response(200, w, 10, w, 10, w, 10, 0));
  status("call", proxy_http_call(w, 10, w, 10, w, 10, w, 10, 0, &t));
  status("grpc", proxy_grpc_call(w, 10, w, 10, w, 10, w, 10, w, 10, 0, &t));
  status("shared", proxy_get_shared_data(w, 10, &p, &n, &t));
  status("set shared", proxy_set_shared_data(S("k"), w, 0xffff, 0));
  status("queue", proxy_register_shared_queue(w, 10, &t));
  status("enqueue", proxy_enqueue_shared_queue(1, w, 10));
  status("metric", proxy_define_metric(0, w, 10, &t));
  status("metric out", proxy_define_metric(0, S("m"), w));
  status("property", proxy_get_property(w, 10, &p, &n));
  status("set property", proxy_set_property(w, 10, w, 10));
  status("foreign", proxy_call_foreign_function(w, 10, w, 10, &p, &n));
  status("fd_write", fd_write(1, w, 3, &n));
  struct { u32 p, n; } iov[1] = {{bad, 1000}};
  status("fd_write iov", fd_write(1, iov, 1, &n));
  status("fd_write count", fd_write(1, iov, 0x20000000, &n));
  status("random", random_get(w, 100));
  status("time", proxy_get_current_time_nanoseconds(w));
  status("negative type", proxy_get_header_map_size((u32)-1, &n));
}

// Sizes that are wrong by themselves: counts and lengths inside of what is memory.
static void lies(void) {
  static u32 words[64];
  u8 *p = (u8 *)words, *q;
  u32 n, t;
  const u32 values[] = {0xffffffff, 0x80000000, 0x7fffffff, 0x10000000, 1024, 1025, 5};
  for (u32 i = 0; i < sizeof values / 4; i++) {
    words[0] = values[i];                     // pairs that are not there
    words[1] = values[i];
    words[2] = 0;
    if (proxy_set_header_map_pairs(2, words, 64) > 12) __builtin_trap();
    words[0] = 1;                             // one pair, longer than all
    words[1] = values[i];
    words[2] = values[i];
    if (proxy_http_call(S("known"), words, 64, "", 0, "", 0, 10, &t) == 0) status("call with lies", i);
    proxy_send_local_response(0xffffffff - i, "", 0, "", 0, words, 64, 0);
    if (proxy_call_foreign_function(S("double"), p, values[i], &q, &n) == 0) status("foreign with lies", i);
    // A GrpcService whose length fields point beyond it.
    p[0] = 0x0a;
    p[1] = 0xff; p[2] = 0xff; p[3] = 0xff; p[4] = 0xff; p[5] = 0x0f;
    if (proxy_grpc_call(p, 6 + i, S("s"), S("m"), "", 0, "", 0, 10, &t) == 0) status("grpc with lies", i);
    proxy_get_buffer_bytes(6, values[i], values[i], &q, &n);
    proxy_set_buffer_bytes(0, values[i], values[i], p, values[i]);
    proxy_set_property("a\0\0\0b", 5, p, 64);
    proxy_get_property("a\0\0\0b", 5, &q, &n);
    proxy_get_property(p, 64, &q, &n);
    proxy_dequeue_shared_queue(values[i], &q, &n);
    proxy_enqueue_shared_queue(values[i], p, 64);
    proxy_increment_metric(values[i], -1);
    proxy_record_metric(values[i], (u64)-1);
    proxy_get_metric(values[i], (u64 *)words);
    proxy_grpc_send(values[i], p, 64, 1);
    proxy_grpc_close(values[i]);
    proxy_grpc_cancel(values[i]);
    proxy_continue_stream(values[i]);
    proxy_close_stream(0x100 + values[i]);
    proxy_log(values[i], "x", 1);
    proxy_set_effective_context(values[i]);
  }
  status("lies", 0);
}

// More of everything than anybody needs.
static void oversize(void) {
  u32 size = 8 << 20, n, t, last = 0, i;
  u8 *b = wasm_malloc(size), *p;
  memset(b, 'x', size);
  for (i = 0; i < 20000 && (last = proxy_define_metric(0, b, 1 + i % 3000, &t)) == 0; i++) ;
  status("metrics end", last);
  for (i = 0, last = 0; i < 100 && (last = proxy_set_shared_data(b, 8 + i, b, size, 0)) == 0; i++) ;
  status("shared data end", last);
  if (proxy_register_shared_queue(S("q"), &t) == 0) {
    for (i = 0, last = 0; i < 100 && (last = proxy_enqueue_shared_queue(t, b, size)) == 0; i++) ;
    status("queue end", last);
  }
  for (i = 0; i < 5000; i++) proxy_register_shared_queue(b, 1 + i, &n);
  status("property", proxy_set_property(S("big"), b, size));
  for (i = 0, last = 0; i < 5000 && (last = proxy_set_property(b, 1 + i, "v", 1)) == 0; i++) ;
  status("properties end", last);
  proxy_log(2, b, size);
  static const char *head[] = {":method", "POST", ":path", "/", ":authority", "a", 0, 0};
  u32 length = pairs(head);
  for (i = 0, last = 0; i < 30000 && (last = proxy_http_call(S("known"), pairs_at, length, "", 0, "", 0, 60000, &t)) == 0; i++) ;
  status("calls end", last);
  status("large call", proxy_http_call(S("known"), pairs_at, length, b, size, "", 0, 60000, &t));
  proxy_send_local_response(200, b, size, b, size, "", 0, (u32)-1);
  status("oversize", 0);
}

EXPORT(proxy_on_request_headers) u32 on_request_headers(u32 id, u32 count, u32 end) {
  u8 *p;
  u32 n;
  what_len = 0;
  lie = 0;
  if (proxy_get_header_map_value(0, S("x-do"), &p, &n) == 0 && n <= sizeof what) {
    memcpy(what, p, n);
    what_len = n;
  }
  if (IS("trap")) __builtin_trap();
  else if (IS("divide")) { volatile u32 zero = 0; return (count + 5) / zero; }
  else if (IS("out of bounds")) { volatile u32 *far = (u32 *)0xfffffffc; return *far; }
  else if (IS("recurse")) return recurse(0);
  else if (IS("indirect")) { u32 (*f)(void) = (u32 (*)(void))4711; return f(); }
  else if (IS("grow")) { u32 k = 0; while (__builtin_wasm_memory_grow(0, 256) != (u32)-1) k++; status("grown", k); __builtin_trap(); }
  else if (IS("grow and live")) { while (__builtin_wasm_memory_grow(0, 1024) != (u32)-1); status("alive", 1); }
  else if (IS("wrong pointers")) all_wrong();
  else if (IS("lies")) lies();
  else if (IS("oversize")) { oversize(); return 1; }
  else if (IS("lie")) { lie = 1; status("lie", proxy_get_header_map_value(0, S(":path"), &p, &n)); lie = 0; }
  else if (IS("nothing")) { lie = 2; status("nothing", proxy_get_header_map_value(0, S(":path"), &p, &n)); lie = 0; }
  else if (IS("trap in malloc")) { lie = 3; proxy_get_header_map_value(0, S(":path"), &p, &n); }
  else if (IS("call in malloc")) { lie = 4; proxy_get_header_map_value(0, S(":path"), &p, &n); }
  else if (IS("many headers")) { for (u32 i = 0; i < 100000; i++) proxy_add_header_map_value(0, S("x-many"), S("value")); }
  else if (IS("huge header")) { proxy_add_header_map_value(0, S("x-huge"), what, 0); u8 *b = wasm_malloc(3000000); memset(b, 'a', 3000000); status("huge", proxy_add_header_map_value(0, S("x-huge"), b, 3000000)); }
  else if (IS("split")) { proxy_add_header_map_value(0, S("x-split"), S("a\r\nx-evil: 1")); proxy_replace_header_map_value(0, S("x-do"), S("b\nx-evil: 2")); }
  else if (IS("no path")) proxy_remove_header_map_value(0, S(":path"));
  else if (IS("no method")) proxy_remove_header_map_value(0, S(":method"));
  else if (IS("no authority")) proxy_remove_header_map_value(0, S(":authority"));
  else if (IS("no headers")) proxy_set_header_map_pairs(0, "", 0);
  else if (IS("strange path")) proxy_replace_header_map_value(0, S(":path"), S("no slash here"));
  else if (IS("bad status")) proxy_send_local_response(7, S("d"), S("b"), "", 0, (u32)-1);
  else if (IS("pause")) return 1;
  return 0;
}
EXPORT(proxy_on_request_body) u32 on_request_body(u32 id, u32 size, u32 end) {
  if (IS("trap in body")) __builtin_trap();
  if (IS("huge body")) {
    u8 *b = wasm_malloc(1 << 20);
    memset(b, 'x', 1 << 20);
    for (u32 i = 0; i < 100; i++) if (proxy_set_buffer_bytes(0, 0x7fffffff, 0, b, 1 << 20)) { status("full at", i); break; }
  }
  if (IS("buffer for ever")) return 1;
  return 0;
}
EXPORT(proxy_on_response_headers) u32 on_response_headers(u32 id, u32 count, u32 end) {
  if (IS("trap in response")) __builtin_trap();
  if (IS("no status")) proxy_remove_header_map_value(2, S(":status"));
  if (IS("odd status")) proxy_replace_header_map_value(2, S(":status"), S("abc"));
  return 0;
}
EXPORT(proxy_on_response_body) u32 on_response_body(u32 id, u32 size, u32 end) {
  if (IS("trap in response body")) __builtin_trap();
  return 0;
}
EXPORT(proxy_on_log) void on_log(u32 id) { if (IS("trap in log")) __builtin_trap(); }
EXPORT(proxy_on_delete) void on_delete(u32 id) { if (IS("trap in delete")) __builtin_trap(); }
