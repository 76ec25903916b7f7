// Does what the request's header `x-do` says, and logs what the host answered. Built for each ABI version (-DABI_0_1_0 ...).
#include "proxy_wasm.h"
#if defined(ABI_0_1_0)
EXPORT(proxy_abi_version_0_1_0) void marker(void) {}
#elif defined(ABI_0_2_0)
EXPORT(proxy_abi_version_0_2_0) void marker(void) {}
#else
EXPORT(proxy_abi_version_0_2_1) void marker(void) {}
#endif

static u32 root = 0, counter, gauge, histogram, queue = 0, call_token = 0, grpc_token = 0, paused_context = 0, pending = 0;
static u32 hold_done = 0, ticks = 0;

#define IS(text) equal(what, what_len, text)
static u8 what[64];
static u32 what_len = 0;

EXPORT(proxy_on_context_create) void on_context_create(u32 id, u32 parent) {
  if (parent == 0) {
    root = id;
    u8 *p;
    u32 n;
    u32 s = proxy_get_property(S("plugin_root_id"), &p, &n);
    result("root_id", s, p, n);
  }
}
EXPORT(proxy_on_vm_start) u32 on_vm_start(u32 id, u32 size) {
  u8 *p;
  u32 n;
#if defined(ABI_0_1_0)
  u32 s = proxy_get_configuration(&p, &n);
#else
  u32 s = proxy_get_buffer_bytes(6, 0, size, &p, &n);
#endif
  result("vm_configuration", s, p, n);
  proxy_define_metric(0, S("requests"), &counter);
  proxy_define_metric(1, S("level"), &gauge);
  proxy_define_metric(2, S("size"), &histogram);
  return 1;
}
EXPORT(proxy_on_configure) u32 on_configure(u32 id, u32 size) {
  u8 *p;
  u32 n;
#if defined(ABI_0_1_0)
  u32 s = proxy_get_configuration(&p, &n);
#else
  u32 s = proxy_get_buffer_bytes(7, 0, size, &p, &n);
#endif
  result("plugin_configuration", s, p, n);
  if (equal(p, n, "refuse")) return 0;
  if (equal(p, n, "tick")) proxy_set_tick_period_milliseconds(100);
  if (equal(p, n, "hold")) hold_done = 1;
  if (equal(p, n, "queue")) status("register", proxy_register_shared_queue(S("q"), &queue));
  return 1;
}
EXPORT(proxy_on_tick) void on_tick(u32 id) {
  ticks++;
  puts_("tick ");
  putn(ticks);
  say();
  if (ticks == 3) proxy_set_tick_period_milliseconds(0);
  if (hold_done && pending) status("done", proxy_done());
}
EXPORT(proxy_on_queue_ready) void on_queue_ready(u32 id, u32 token) {
  u8 *p;
  u32 n;
  u32 s = proxy_dequeue_shared_queue(token, &p, &n);
  result("dequeued", s, p, n);
}

static void headers(void) {
  u8 *p;
  u32 n;
  status("size", proxy_get_header_map_size(0, &n));
  status("bad type", proxy_get_header_map_size(8, &n));
  u32 s = proxy_get_header_map_value(0, S("X-Two"), &p, &n);
  result("first of two", s, p, n);
  s = proxy_get_header_map_value(0, S("x-absent"), &p, &n);
  result("absent", s, p, n);
  s = proxy_get_header_map_value(0, S(":path"), &p, &n);
  result("path", s, p, n);
  s = proxy_get_header_map_value(2, S("x"), &p, &n);
  result("not available", s, p, n);
  s = proxy_get_header_map_pairs(2, &p, &n);
  result("pairs not available", s, (u8 *)"", n);
  s = proxy_get_header_map_pairs(0, &p, &n);
  status("pairs", s);
  status("pairs count", *(u32 *)p);
  status("set pairs back", proxy_set_header_map_pairs(0, p, n));
  status("add", proxy_add_header_map_value(0, S("X-Added"), S("a")));
  status("add again", proxy_add_header_map_value(0, S("x-added"), S("b")));
  status("replace", proxy_replace_header_map_value(0, S("x-two"), S("only")));
  status("replace absent", proxy_replace_header_map_value(0, S("x-new"), S("made")));
  status("remove", proxy_remove_header_map_value(0, S("x-gone")));
  status("remove absent", proxy_remove_header_map_value(0, S("x-absent")));
  status("add to response", proxy_add_header_map_value(2, S("x"), S("y")));
  status("bad name", proxy_add_header_map_value(0, S("a b"), S("c")));
  status("trailers too early", proxy_add_header_map_value(1, S("x"), S("y")));
  status("bad pointer", proxy_get_header_map_value(0, (void *)0xfffffff0, 100, &p, &n));
  status("bad result pointer", proxy_get_header_map_value(0, S(":path"), (u8 **)0xfffffff0, &n));
}

static void shared(void) {
  u8 *p;
  u32 n, cas;
  status("get absent", proxy_get_shared_data(S("nothing"), &p, &n, &cas));
  status("set", proxy_set_shared_data(S("key"), S("one"), 0));
  u32 s = proxy_get_shared_data(S("key"), &p, &n, &cas);
  result("get", s, p, n);
  status("cas right", proxy_set_shared_data(S("key"), S("two"), cas));
  status("cas wrong", proxy_set_shared_data(S("key"), S("three"), cas));
  s = proxy_get_shared_data(S("key"), &p, &n, &cas);
  result("get again", s, p, n);
  status("set empty", proxy_set_shared_data(S("key"), "", 0, 0));
  s = proxy_get_shared_data(S("key"), &p, &n, &cas);
  result("get empty", s, p, n);
}

static void queues(void) {
  u8 *p;
  u32 n, token;
  status("resolve absent", proxy_resolve_shared_queue("", 0, S("none"), &token));
  status("register", proxy_register_shared_queue(S("mine"), &token));
  u32 other;
  status("resolve", proxy_resolve_shared_queue("", 0, S("mine"), &other));
  status("same token", token == other);
  status("empty", proxy_dequeue_shared_queue(token, &p, &n));
  status("enqueue", proxy_enqueue_shared_queue(token, S("item")));
  status("enqueue unknown", proxy_enqueue_shared_queue(999, S("item")));
  status("dequeue unknown", proxy_dequeue_shared_queue(999, &p, &n));
}

static void metrics(void) {
  u64 v;
  u32 id;
  status("bad type", proxy_define_metric(3, S("x"), &id));
  status("increment", proxy_increment_metric(counter, 5));
  status("increment by 0", proxy_increment_metric(counter, 0));
  status("record counter", proxy_record_metric(counter, 2));
  status("get", proxy_get_metric(counter, &v));
  status("counter", (u32)v);
  status("gauge up", proxy_increment_metric(gauge, 10));
  status("gauge down", proxy_increment_metric(gauge, -3));
  proxy_get_metric(gauge, &v);
  status("gauge", (u32)v);
  status("gauge set", proxy_record_metric(gauge, 4));
  proxy_get_metric(gauge, &v);
  status("gauge now", (u32)v);
  status("histogram", proxy_record_metric(histogram, 77));
  status("histogram increment", proxy_increment_metric(histogram, 1));
  status("histogram get", proxy_get_metric(histogram, &v));
  status("unknown", proxy_get_metric(4000, &v));
  status("same metric", proxy_define_metric(0, S("requests"), &id));
  status("new id", id != counter);
  proxy_get_metric(id, &v);
  status("same value", (u32)v);
}

static void properties(void) {
  u8 *p;
  u32 n;
  u32 s = proxy_get_property(S("request\0path"), &p, &n);
  result("request.path", s, p, n);
  s = proxy_get_property(S("request\0headers\0x-two"), &p, &n);
  result("request.headers.x-two", s, p, n);
  s = proxy_get_property(S("request\0method\0"), &p, &n);
  result("trailing nul", s, p, n);
  status("whole root", proxy_get_property(S("request"), &p, &n));
  status("nothing", proxy_get_property(S("no\0such"), &p, &n));
  status("empty path", proxy_get_property("", 0, &p, &n));
  status("set", proxy_set_property(S("my.state"), S("kept")));
  s = proxy_get_property(S("my.state"), &p, &n);
  result("own", s, p, n);
  s = proxy_get_property(S("plugin_name"), &p, &n);
  result("plugin_name", s, p, n);
}

static void wasi(void) {
  u8 *p;
  u32 n;
  struct { const char *p; u32 n; } iov[2] = {{S("standard ")}, {S("output\n")}};
  status("fd_write", fd_write(1, iov, 2, &n));
  status("written", n);
  status("fd_write error", fd_write(2, iov, 1, &n));
  status("fd_write other", fd_write(3, iov, 1, &n));
  u32 count, size;
  status("environ_sizes", environ_sizes_get(&count, &size));
  u8 *list[8];
  static u8 buffer[256];
  status("environ", environ_get(list, buffer));
  if (count > 0) {
    puts_("env ");
    puts_((char *)list[0]);
    say();
  }
  u64 now = 0;
  status("clock", clock_time_get(0, 1, &now));
  status("after 2020", now > 1577836800000000000ull);
  status("bad clock", clock_time_get(7, 1, &now));
  status("random", random_get(buffer, 16));
  status("too much random", random_get(buffer, 70000));
  status("time", proxy_get_current_time_nanoseconds(&now));
#if !defined(ABI_0_1_0) && !defined(ABI_0_2_0)
  status("log level", proxy_get_log_level(&n));
  status("level", n);
#endif
  status("log bad level", proxy_log(6, "", 0));
  status("log nothing", proxy_log(2, "", 0));
}

static void foreign(void) {
  u8 *p;
  u32 n;
  status("unknown", proxy_call_foreign_function(S("nonsense"), "", 0, &p, &n));
  u32 s = proxy_call_foreign_function(S("double"), S("ab"), &p, &n);
  result("double", s, p, n);
  status("without results", proxy_call_foreign_function(S("double"), S("ab"), 0, 0));
}

static u32 http_call(const char *cluster, u32 timeout) {
  const char *list[] = {":method", "POST", ":path", "/auth", ":authority", "auth", "X-Call", "1", 0};
  u32 n = pairs(list);
  return proxy_http_call(cluster, len(cluster), pairs_at, n, S("question"), 0, 0, timeout, &call_token);
}

static u32 act(u32 context) {
  u8 *p;
  u32 n;
  if (IS("headers")) headers();
  else if (IS("shared")) shared();
  else if (IS("queues")) queues();
  else if (IS("metrics")) metrics();
  else if (IS("properties")) properties();
  else if (IS("wasi")) wasi();
  else if (IS("foreign")) foreign();
  else if (IS("memory")) {
    // The allocator grows memory in the middle of a host call.
    heap_at = __builtin_wasm_memory_size(0) * 65536 - 4;
    u32 s = proxy_get_header_map_value(0, S(":path"), &p, &n);
    result("path after growth", s, p, n);
    status("grown", grown > 0);
  } else if (IS("reply")) {
    const char *list[] = {"x-own", "1", "content-type", "text/x-own", 0};
    u32 k = pairs(list);
    status("reply", proxy_send_local_response(418, S("my details\n"), S("I am a teapot"), pairs_at, k, (u32)-1));
    status("second reply", proxy_send_local_response(500, S("no"), "", 0, 0, 0, (u32)-1));
    return 0;
  } else if (IS("http_call")) {
    status("unknown cluster", http_call("nobody", 1000));
    status("negative timeout", http_call("known", (u32)-5));
    const char *list[] = {":method", "GET", 0};
    u32 k = pairs(list), t = 0;
    status("incomplete", proxy_http_call(S("known"), pairs_at, k, "", 0, 0, 0, 1000, &t));
    status("call", http_call("known", 1000));
    paused_context = context;
    return 1;
  } else if (IS("grpc_call")) {
    u32 t;
    status("unknown", proxy_grpc_call(S("nobody"), S("svc"), S("do"), "", 0, S("msg"), 1000, &t));
    status("call", proxy_grpc_call(S("known"), S("test.Echo"), S("Say"), "", 0, S("\x0a\x03msg"), 1000, &grpc_token));
    paused_context = context;
    return 1;
  } else if (IS("grpc_stream")) {
    status("stream", proxy_grpc_stream(S("known"), S("test.Echo"), S("Talk"), "", 0, &grpc_token));
    status("send", proxy_grpc_send(grpc_token, S("\x0a\x05hello"), 0));
    status("send unknown", proxy_grpc_send(4002, S("hello"), 0));
    status("send bad kind", proxy_grpc_send(4, S("hello"), 0));
    status("cancel bad kind", proxy_grpc_cancel(4));
    status("close", proxy_grpc_close(grpc_token));
    paused_context = context;
    return 1;
  } else if (IS("close")) {
#if defined(ABI_0_1_0)
    status("clear", proxy_clear_route_cache());
#else
    status("close", proxy_close_stream(0));
    status("close bad", proxy_close_stream(4));
#endif
  } else if (IS("continue at once")) {
#if defined(ABI_0_1_0)
    status("continue", proxy_continue_request());
#else
    status("continue", proxy_continue_stream(0));
    status("continue upstream", proxy_continue_stream(3));
    status("continue bad", proxy_continue_stream(4));
#endif
    return 1;
  } else if (IS("effective")) {
    status("unknown context", proxy_set_effective_context(4711));
    status("root", proxy_set_effective_context(root));
    u32 s = proxy_get_header_map_value(0, S(":path"), &p, &n);
    result("path in root", s, p, n);
    status("back", proxy_set_effective_context(context));
    s = proxy_get_header_map_value(0, S(":path"), &p, &n);
    result("path in stream", s, p, n);
  } else if (IS("trap")) __builtin_trap();
  else if (IS("exit")) {
    proc_exit(3);
    status("still here", 0);
  } else if (IS("body")) proxy_remove_header_map_value(0, S("content-length"));
  else if (IS("pause")) return 1;
  else if (IS("odd")) return 77;
  return 0;
}

#if defined(ABI_0_1_0)
EXPORT(proxy_on_request_headers) u32 on_request_headers(u32 id, u32 count) {
#else
EXPORT(proxy_on_request_headers) u32 on_request_headers(u32 id, u32 count, u32 end) {
#endif
  u8 *p;
  u32 n;
  what_len = 0;
  if (proxy_get_header_map_value(0, S("x-do"), &p, &n) == 0 && n <= sizeof what) {
    memcpy(what, p, n);
    what_len = n;
  }
  proxy_increment_metric(counter, 1);
  return act(id);
}
EXPORT(proxy_on_request_body) u32 on_request_body(u32 id, u32 size, u32 end) {
  u8 *p;
  u32 n, flags;
  if (IS("body")) {
    proxy_get_buffer_status(0, &n, &flags);
    puts_("body ");
    putn(size);
    puts_(" ");
    putn(n);
    puts_(" ");
    putn(end);
    say();
    if (!end) return 1;
    u32 s = proxy_get_buffer_bytes(0, 0, size, &p, &n);
    result("whole", s, p, n);
    s = proxy_get_buffer_bytes(0, 2, 3, &p, &n);
    result("part", s, p, n);
    s = proxy_get_buffer_bytes(0, size, 3, &p, &n);
    result("past the end", s, p, n);
    status("bad type", proxy_get_buffer_bytes(9, 0, 1, &p, &n));
    status("prepend", proxy_set_buffer_bytes(0, 0, 0, S("<")));
    status("append", proxy_set_buffer_bytes(0, 0x7fffffff, 0, S(">")));
    status("inside", proxy_set_buffer_bytes(0, 2, 1, S("x")));
    status("replace start", proxy_set_buffer_bytes(0, 0, 2, S("[")));
    status("response body", proxy_set_buffer_bytes(1, 0, 0, S("x")));
    status("read only", proxy_set_buffer_bytes(7, 0, 0, S("x")));
    status("add trailer", proxy_add_header_map_value(1, S("x-sum"), S("42")));
  } else if (IS("each")) {
    status("replace all", proxy_set_buffer_bytes(0, 0, 0xffffffff, S("#")));
  } else if (IS("wrong length")) {
    proxy_set_buffer_bytes(0, 0x7fffffff, 0, S("GET /smuggled HTTP/1.1\r\n\r\n"));
  } else if (IS("late edit")) {
    if (end) {
      http_call("known", 1000);
      paused_context = id;
    }
    return 1;
  } else if (IS("nobuffer")) {
    if (!end) return 3;
  } else if (IS("watermark")) {
    if (!end) return 2;
  }
  return 0;
}
EXPORT(proxy_on_request_trailers) u32 on_request_trailers(u32 id, u32 count) {
  status("request trailers", count);
  proxy_add_header_map_value(1, S("x-trailer-added"), S("1"));
  return 0;
}
#if defined(ABI_0_1_0)
EXPORT(proxy_on_response_headers) u32 on_response_headers(u32 id, u32 count) {
#else
EXPORT(proxy_on_response_headers) u32 on_response_headers(u32 id, u32 count, u32 end) {
#endif
  u8 *p;
  u32 n;
  u32 s = proxy_get_header_map_value(2, S(":status"), &p, &n);
  result("status", s, p, n);
  proxy_add_header_map_value(2, S("x-response"), S("seen"));
  if (IS("response reply")) {
    const char *list[] = {"x-late", "1", 0};
    u32 k = pairs(list);
    proxy_send_local_response(502, S("late"), S("replaced \xc3\xa4"), pairs_at, k, (u32)-1);
  }
  if (IS("response body")) proxy_remove_header_map_value(2, S("content-length"));
  if (IS("response pause")) {
    call_token = 0;
    http_call("known", 1000);
    paused_context = id;
    return 1;
  }
  return 0;
}
EXPORT(proxy_on_response_body) u32 on_response_body(u32 id, u32 size, u32 end) {
  if (IS("response body")) {
    if (!end) return 1;
    status("replace", proxy_set_buffer_bytes(1, 0, 0xffffffff, S("new body")));
    status("add trailer", proxy_add_header_map_value(3, S("x-end"), S("yes")));
  }
  return 0;
}
EXPORT(proxy_on_response_trailers) u32 on_response_trailers(u32 id, u32 count) {
  status("response trailers", count);
  return 0;
}

EXPORT(proxy_on_http_call_response) void on_http_call_response(u32 id, u32 token, u32 count, u32 size, u32 trailers) {
  u8 *p;
  u32 n, code;
  status("answer in root", id == root);
  status("token", token == call_token);
  puts_("answer ");
  putn(count);
  puts_(" ");
  putn(size);
  puts_(" ");
  putn(trailers);
  say();
  if (count == 0) {
    proxy_get_status(&code, &p, &n);
    status("code", code);
    result("why", 0, p, n);
  } else {
    u32 s = proxy_get_header_map_value(6, S(":status"), &p, &n);
    result("answer status", s, p, n);
    s = proxy_get_buffer_bytes(4, 0, size, &p, &n);
    result("answer body", s, p, n);
    s = proxy_get_header_map_value(7, S("t"), &p, &n);
    result("answer trailer", s, p, n);
    status("answers are read only", proxy_add_header_map_value(6, S("x"), S("y")));
  }
  if (paused_context) {
    proxy_set_effective_context(paused_context);
    if (IS("late edit")) {
      u8 *b = wasm_malloc(2 << 20);
      status("late edit", proxy_set_buffer_bytes(0, 0x7fffffff, 0, b, 2 << 20));
    }
    proxy_add_header_map_value(0, S("x-auth"), S("ok"));
#if defined(ABI_0_1_0)
    if (IS("response pause")) proxy_continue_response(); else proxy_continue_request();
#else
    proxy_continue_stream(IS("response pause") ? 1 : 0);
#endif
    paused_context = 0;
  }
}

EXPORT(proxy_on_grpc_receive_initial_metadata) void on_grpc_initial(u32 id, u32 token, u32 count) { status("initial metadata", count); }
EXPORT(proxy_on_grpc_receive) void on_grpc_receive(u32 id, u32 token, u32 size) {
  u8 *p;
  u32 n;
  u32 s = proxy_get_buffer_bytes(5, 0, size, &p, &n);
  result("grpc message", s, p, n);
  if (IS("grpc_call") && paused_context) {
    proxy_set_effective_context(paused_context);
#if !defined(ABI_0_1_0)
    proxy_continue_stream(0);
#endif
    paused_context = 0;
  }
}
EXPORT(proxy_on_grpc_receive_trailing_metadata) void on_grpc_trailing(u32 id, u32 token, u32 count) { status("trailing metadata", count); }
EXPORT(proxy_on_grpc_close) void on_grpc_close(u32 id, u32 token, u32 code) {
  u8 *p;
  u32 n, c;
  status("grpc closed", code);
  proxy_get_status(&c, &p, &n);
  result("why", 0, p, n);
  if (paused_context) {
    proxy_set_effective_context(paused_context);
#if !defined(ABI_0_1_0)
    proxy_continue_stream(0);
#endif
    paused_context = 0;
  }
}

EXPORT(proxy_on_done) u32 on_done(u32 id) {
  if (id == root) {
    puts_("done root");
    say();
    if (hold_done) {
      pending = 1;
      return 0;
    }
  } else {
    puts_("done");
    say();
  }
  return 1;
}
EXPORT(proxy_on_log) void on_log(u32 id) {
  u8 *p;
  u32 n;
  u32 s = proxy_get_header_map_value(0, S(":path"), &p, &n);
  result("log path", s, p, n);
  s = proxy_get_header_map_value(2, S(":status"), &p, &n);
  result("log status", s, p, n);
}
EXPORT(proxy_on_delete) void on_delete(u32 id) {
  puts_(id == root ? "delete root" : "delete");
  say();
}
EXPORT(_initialize) void initialize(void) {
  puts_("initialized");
  say();
}
