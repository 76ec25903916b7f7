// What the SDKs make of a host, as strictly as they do: tables of contexts and tokens that are borrowed while a callback runs, and a panic for
// whatever the SDK does not expect. One of RUST, GO, TINYGO, CPP says whose start, allocator and checks these are. The request's header
// `x-do` says what to do.
#if defined(RUST) || defined(GO)
#define OWN_ALLOCATOR
#endif
#include "proxy_wasm.h"
EXPORT(proxy_abi_version_0_2_1) void marker(void) {}
WASI(args_sizes_get) u32 args_sizes_get(u32 *, u32 *);
WASI(args_get) u32 args_get(u8 **, u8 *);
WASI(fd_fdstat_get) u32 fd_fdstat_get(u32, void *);
WASI(fd_fdstat_set_flags) u32 fd_fdstat_set_flags(u32, u32);
WASI(fd_prestat_get) u32 fd_prestat_get(u32, void *);
WASI(fd_prestat_dir_name) u32 fd_prestat_dir_name(u32, u8 *, u32);
WASI(poll_oneoff) u32 poll_oneoff(const void *, void *, u32, u32 *);
WASI(sched_yield) u32 sched_yield(void);

// ---- panics: standard error in pieces, as Rust writes them, then a trap.
static void error_piece(const char *text) {
  struct { const void *p; u32 n; } iov = {text, len(text)};
  u32 written;
  fd_write(2, &iov, 1, &written);
}
static _Noreturn void panic(const char *why) {
  error_piece("panicked at ");
  error_piece(why);
  error_piece("\n");
  __builtin_trap();
}
static void panic_status(const char *function, u32 s) {
  at = 0;
  puts_(function);
  puts_(": unexpected status: ");
  putn(s);
  line[at] = 0;
  panic(line);
}
// Ends the module when a status is none that the SDK lists for the function: bits.
#define BIT(s) (1u << (s))
enum { OK = 0, NOT_FOUND = 1, BAD = 2, SERIAL = 3, PARSE = 4, EMPTY = 7, CAS = 8, INTERNAL = 10 };
static u32 expect(const char *function, u32 s, u32 allowed) {
  if (s > 31 || !(allowed & BIT(s))) panic_status(function, s);
  return s;
}

// ---- tables
enum { NONE, ROOT, STREAM };
static u32 kind_of[4096], parent_of[4096], done_of[4096];
static u32 tokens[256], token_context[256], token_count;
static u32 borrowed;
static u32 ticks, held, queue;
static void borrow(void) {
  if (borrowed) panic("already borrowed: BorrowMutError");
  borrowed = 1;
}
static void give_back(void) { borrowed = 0; }
static void need(u32 id, u32 kind) {
  if (id >= 4096 || kind_of[id] != kind) panic(kind == ROOT ? "invalid context_id (root)" : "invalid context_id");
}
static void remember_token(u32 token, u32 context) {
  for (u32 i = 0; i < token_count; i++) if (tokens[i] == token) panic("duplicate token_id");
  tokens[token_count] = token;
  token_context[token_count++] = context;
}
static u32 take_token(u32 token) {
  for (u32 i = 0; i < token_count; i++) {
    if (tokens[i] != token) continue;
    u32 context = token_context[i];
    tokens[i] = tokens[--token_count];
    token_context[i] = token_context[token_count];
    return context;
  }
  panic("invalid token_id");
}

// ---- the start
#if defined(RUST)
EXPORT(proxy_on_memory_allocate) void *rust_alloc(u32 size) { return wasm_malloc(size); }
EXPORT(_initialize) void initialize(void) { puts_("started"); say(); }
#elif defined(GO)
EXPORT(proxy_on_memory_allocate) void *go_alloc(u32 size) { return wasm_malloc(size); }
#endif
#if defined(GO) || defined(TINYGO)
// What Go's runtime and its packages os and syscall do before main.
static void go_start(void) {
  u32 a, b, n;
  u64 t;
  u8 room[64];
  if (args_sizes_get(&a, &b) != 0 || a != 0 || args_get((u8 **)room, room) != 0) panic("args");
  if (environ_sizes_get(&a, &b) != 0 || b > 4096) panic("environ_sizes");
  if (a > 0 && environ_get(wasm_malloc(4 * a), wasm_malloc(b)) != 0) panic("environ");
  if (clock_time_get(1, 0, &t) != 0 || clock_time_get(0, 0, &t) != 0) panic("clock");
  if (random_get(room, sizeof room) != 0) panic("random");
  for (u32 fd = 0; fd < 3; fd++) {
    u32 s = fd_fdstat_get(fd, room);
    if (s != 0 && s != 8) panic("fdstat");
    fd_fdstat_set_flags(fd, 4);
  }
  for (u32 fd = 3;; fd++) {
    u32 s = fd_prestat_get(fd, room);
    if (s == 8) break;
    if (s != 0 || fd > 100) panic("prestat");
    fd_prestat_dir_name(fd, room, sizeof room);
  }
  n = 77;
  if (poll_oneoff(room, room, 1, &n) != 0 || n != 0) panic("poll_oneoff");
  puts_("started");
  say();
}
#endif
#if defined(GO)
EXPORT(_initialize) void initialize(void) { go_start(); }
#elif defined(TINYGO)
EXPORT(proxy_on_memory_allocate) void *tiny_alloc(u32 size) { panic("malloc is there, too"); }
EXPORT(_start) void start(void) { go_start(); }
#elif defined(CPP)
IMPORT(emscripten_notify_memory_growth) void emscripten_notify_memory_growth(u32);
IMPORT(pthread_equal) u32 pthread_equal(u32, u32);
static u32 constructed;
EXPORT(_initialize) void initialize(void) {
  constructed = 1;
  emscripten_notify_memory_growth(0);
  if (!pthread_equal(7, 7) || pthread_equal(7, 8)) panic("pthread_equal");
}
EXPORT(main) int c_main(int argc, char **argv) {
  if (!constructed || argc != 0 || argv != 0) panic("main");
  puts_("started");
  say();
  return 0;
}
// Of old SDKs, with a name that no host looks for.
EXPORT(proxy_on_grpc_trailing_metadata) void old_name(u32 a, u32 b, u32 c) {}
#endif

// ---- strict reading of pairs: wrong sizes are slices out of range.
static u32 word(const u8 *p) { return p[0] | p[1] << 8 | p[2] << 16 | (u32)p[3] << 24; }
static u32 read_pairs(const u8 *p, u32 n) {
  if (n == 0) return 0;
  if (n < 4) panic("range end index 4 out of range");
  u32 count = word(p), at_ = 4 + 8 * count;
  for (u32 i = 0; i < count; i++) {
    u32 name = word(p + 4 + 8 * i), value = word(p + 8 + 8 * i);
    if (at_ + name + value + 2 > n) panic("slice out of range");
    if (p[at_ + name] != 0 || p[at_ + name + 1 + value] != 0) panic("no NUL");
    at_ += name + value + 2;
  }
  if (at_ != n) panic("bytes left over");
  return count;
}

// Go makes ErrorStatusNotFound of a null pointer.
static u32 go_status(u32 s, const u8 *p) {
#if defined(GO) || defined(TINYGO)
  if (s == OK && p == 0) return NOT_FOUND;
#endif
  return s;
}

static u8 what[64];
static u32 what_len;
#define IS(text) equal(what, what_len, text)

// Every function with what may come of it: only what the SDK lists.
static void statuses(void) {
  u8 *p = (u8 *)1;
  u32 n = 9, c, t;
  const u32 map = BIT(OK), value = BIT(OK) | BIT(NOT_FOUND);
  for (u32 type = 0; type < 8; type++) {
    expect("get_map", proxy_get_header_map_pairs(type, &p, &n), map);
    read_pairs(p, n);
  }
  expect("get_map_value", proxy_get_header_map_value(0, S("x-absent"), &p, &n), value);
  expect("get_map_value", proxy_get_header_map_value(0, S(":PATH"), &p, &n), BIT(OK));
  expect("add", proxy_add_header_map_value(0, S("x-a"), S("1")), BIT(OK));
  expect("add", proxy_add_header_map_value(0, S("X-Empty"), "", 0), BIT(OK));
  expect("replace", proxy_replace_header_map_value(0, S("x-new"), S("1")), BIT(OK));
  expect("remove", proxy_remove_header_map_value(0, S("x-absent")), BIT(OK));
  expect("get_map", proxy_get_header_map_pairs(0, &p, &n), map);
  status("pairs", read_pairs(p, n));
  for (u32 type = 0; type < 9; type++) expect("get_buffer", proxy_get_buffer_bytes(type, 0, 100, &p, &n), value);
  expect("get_property", proxy_get_property(S("nothing\0here"), &p, &n), BIT(OK) | BIT(NOT_FOUND) | BIT(SERIAL) | BIT(INTERNAL));
  expect("get_property", proxy_get_property(S("request"), &p, &n), BIT(OK) | BIT(NOT_FOUND) | BIT(SERIAL) | BIT(INTERNAL));
  expect("get_property", proxy_get_property(S("request\0headers"), &p, &n), BIT(OK));
  status("property pairs", read_pairs(p, n));
  expect("set_property", proxy_set_property(S("own"), S("v")), BIT(OK));
  expect("set_property", proxy_set_property(S("own"), 0, 0), BIT(OK));
  expect("get_shared_data", proxy_get_shared_data(S("k"), &p, &n, &c), value);
  expect("set_shared_data", proxy_set_shared_data(S("k"), S("v"), 0), BIT(OK) | BIT(CAS));
  expect("set_shared_data", proxy_set_shared_data(S("k"), S("v"), 99999), BIT(CAS));
  expect("register", proxy_register_shared_queue(S("q"), &t), BIT(OK));
  expect("resolve", proxy_resolve_shared_queue("", 0, S("absent"), &c), value);
  expect("dequeue", proxy_dequeue_shared_queue(t, &p, &n), BIT(OK) | BIT(EMPTY) | BIT(NOT_FOUND));
  expect("dequeue", proxy_dequeue_shared_queue(t + 1, &p, &n), BIT(OK) | BIT(EMPTY) | BIT(NOT_FOUND));
  expect("enqueue", proxy_enqueue_shared_queue(t + 1, S("x")), value);
  expect("http_call", proxy_http_call(S("absent"), "", 0, "", 0, "", 0, 10, &t), BIT(OK) | BIT(BAD) | BIT(INTERNAL));
  expect("grpc_call", proxy_grpc_call(S("absent"), S("s"), S("m"), "", 0, "", 0, 10, &t), BIT(OK) | BIT(PARSE) | BIT(INTERNAL));
  expect("grpc_stream", proxy_grpc_stream(S("absent"), S("s"), S("m"), "", 0, &t), BIT(OK) | BIT(PARSE) | BIT(INTERNAL));
  expect("define_metric", proxy_define_metric(1, S("sdk"), &t), BIT(OK));
  expect("increment_metric", proxy_increment_metric(t, -1), value);
  expect("record_metric", proxy_record_metric(t, 3), value);
  expect("get_status", proxy_get_status(&c, &p, &n), BIT(OK));
  expect("continue", proxy_continue_stream(0), BIT(OK));
  expect("continue", proxy_continue_stream(1), BIT(OK));
  expect("tick", proxy_set_tick_period_milliseconds(0), BIT(OK));
  expect("time", proxy_get_current_time_nanoseconds((u64 *)wasm_malloc(8)), BIT(OK));
  expect("log", proxy_log(0, "", 0), BIT(OK));
  puts_("all statuses are known");
  say();
}

// ---- callbacks
EXPORT(proxy_on_context_create) void on_context_create(u32 id, u32 parent) {
  borrow();
  if (id == 0 || id >= 4096) panic("bad context_id");
  if (kind_of[id] != NONE) panic("duplicate context_id");
  if (parent == 0) {
    kind_of[id] = ROOT;
#if defined(CPP)
    // The factory that was registered under this name.
    u8 *p;
    u32 n;
    if (proxy_get_property(S("plugin_root_id"), &p, &n) != 0) panic("no plugin_root_id");
    result("factory", 0, p, n);
#endif
  } else {
    need(parent, ROOT);
    kind_of[id] = STREAM;
    parent_of[id] = parent;
  }
  done_of[id] = 0;
  give_back();
}
EXPORT(proxy_on_vm_start) u32 on_vm_start(u32 root, u32 size) {
  borrow();
  need(root, ROOT);
  u8 *p = (u8 *)1;
  u32 n = 9, s = go_status(expect("vm configuration", proxy_get_buffer_bytes(6, 0, size, &p, &n), BIT(OK) | BIT(NOT_FOUND)), p);
  status("vm configuration", s);
  if (n != size) panic("vm configuration size");
  give_back();
  return 1;
}
EXPORT(proxy_on_configure) u32 on_configure(u32 root, u32 size) {
  borrow();
  need(root, ROOT);
  u8 *p = (u8 *)1;
  u32 n = 9, s = go_status(expect("plugin configuration", proxy_get_buffer_bytes(7, 0, size, &p, &n), BIT(OK) | BIT(NOT_FOUND)), p);
  status("plugin configuration", s);
  if (n != size) panic("plugin configuration size");
  if (equal(p, n, "hold")) held = 1;
  if (equal(p, n, "queue")) expect("register", proxy_register_shared_queue(S("q"), &queue), BIT(OK));
  give_back();
  return 1;
}
EXPORT(proxy_on_tick) void on_tick(u32 root) {
  borrow();
  need(root, ROOT);
  ticks++;
  if (held && done_of[root]) expect("done", proxy_done(), BIT(OK));
  give_back();
}
EXPORT(proxy_on_queue_ready) void on_queue_ready(u32 root, u32 token) {
  u8 *p;
  u32 n;
  borrow();
  need(root, ROOT);
  u32 s = expect("dequeue", proxy_dequeue_shared_queue(token, &p, &n), BIT(OK) | BIT(EMPTY) | BIT(NOT_FOUND));
  result("queue", s, p, n);
  give_back();
}
static void call_out(u32 context) {
  static const char *head[] = {":method", "GET", ":path", "/", ":authority", "a", 0, 0};
  u32 t, n = pairs(head);
  if (expect("http_call", proxy_http_call(S("known"), pairs_at, n, "", 0, "", 0, 100, &t), BIT(OK) | BIT(BAD) | BIT(INTERNAL)) == OK)
    remember_token(t, context);
}
EXPORT(proxy_on_request_headers) u32 on_request_headers(u32 id, u32 count, u32 end) {
  u8 *p;
  u32 n, action = 0;
  borrow();
  need(id, STREAM);
  what_len = 0;
  if (proxy_get_header_map_value(0, S("x-do"), &p, &n) == 0 && n <= sizeof what) {
    memcpy(what, p, n);
    what_len = n;
  }
  if (IS("statuses")) statuses();
  else if (IS("reply")) {
    expect("reply", proxy_send_local_response(403, S("d"), S("b"), "", 0, (u32)-1), BIT(OK));
    action = 1;
  } else if (IS("call")) {
    call_out(id);
    call_out(id);
    action = 1;
  } else if (IS("enqueue")) expect("enqueue", proxy_enqueue_shared_queue(queue, S("item")), BIT(OK));
  else if (IS("continue")) {
    expect("continue", proxy_continue_stream(0), BIT(OK));
    action = 1;
  } else if (IS("close")) expect("close", proxy_close_stream(0), BIT(OK));
  else if (IS("early trailer")) expect("add", proxy_add_header_map_value(1, S("x-t"), S("1")), BIT(OK));
  else if (IS("tick")) expect("tick", proxy_set_tick_period_milliseconds(1), BIT(OK));
  else if (IS("empty body")) {
    p = (u8 *)1;
    n = 9;
    u32 s = proxy_get_buffer_bytes(0, 0, 100, &p, &n);
    status("size", n);
    status("null", p == 0);
    status("body", go_status(s, p));
  }
  give_back();
  return action;
}
EXPORT(proxy_on_request_body) u32 on_request_body(u32 id, u32 size, u32 end) {
  borrow();
  need(id, STREAM);
  if (IS("append")) expect("append", proxy_set_buffer_bytes(0, 0x7fffffff, 0, S("+")), BIT(OK));
  if (IS("replace all")) expect("replace", proxy_set_buffer_bytes(0, 0, 0xffffffff, S("new")), BIT(OK));
  if (IS("prepend")) expect("prepend", proxy_set_buffer_bytes(0, 0, 0, S("<")), BIT(OK));
  if (IS("late trailer") && end) expect("add", proxy_add_header_map_value(1, S("x-t"), S("1")), BIT(OK));
  give_back();
  return 0;
}
EXPORT(proxy_on_response_headers) u32 on_response_headers(u32 id, u32 count, u32 end) {
  borrow();
  need(id, STREAM);
  expect("add", proxy_add_header_map_value(2, S("x-sdk"), S("1")), BIT(OK));
  give_back();
  return 0;
}
EXPORT(proxy_on_http_call_response) void on_http_call_response(u32 root, u32 token, u32 headers, u32 body, u32 trailers) {
  u8 *p;
  u32 n;
  borrow();
  need(root, ROOT);
  u32 context = take_token(token);
  expect("get_map", proxy_get_header_map_pairs(6, &p, &n), BIT(OK));
  if (read_pairs(p, n) != headers) panic("num_headers");
  if (kind_of[context] == STREAM) {
    expect("effective", proxy_set_effective_context(context), BIT(OK));
    if (token_count == 0) expect("continue", proxy_continue_stream(0), BIT(OK));
  }
  give_back();
}
EXPORT(proxy_on_done) u32 on_done(u32 id) {
  borrow();
  if (id >= 4096 || kind_of[id] == NONE) panic("on_done: invalid context_id");
  done_of[id] = 1;
  u32 hold = held && kind_of[id] == ROOT;
  if (hold) expect("tick", proxy_set_tick_period_milliseconds(10), BIT(OK));
  give_back();
  return !hold;
}
EXPORT(proxy_on_log) void on_log(u32 id) {
  u8 *p;
  u32 n;
  borrow();
  if (id >= 4096 || kind_of[id] == NONE) panic("on_log: invalid context_id");
  expect("get_map", proxy_get_header_map_pairs(0, &p, &n), BIT(OK));
  read_pairs(p, n);
  give_back();
}
EXPORT(proxy_on_delete) void on_delete(u32 id) {
  borrow();
  if (id >= 4096 || kind_of[id] == NONE) panic("on_delete: invalid context_id");
#if defined(GO) || defined(TINYGO)
  if (!done_of[id]) panic("delete before done");
#endif
  if (kind_of[id] == ROOT) {
    puts_("root deleted");
    say();
  }
  kind_of[id] = NONE;
  give_back();
}
