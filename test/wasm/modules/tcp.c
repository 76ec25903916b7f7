// Shows each callback of a connection in the log; what bytes say decides what happens.
#include "proxy_wasm.h"
EXPORT(proxy_abi_version_0_2_1) void marker(void) {}
static u32 root = 0;
EXPORT(proxy_on_context_create) void on_context_create(u32 id, u32 parent) { if (parent == 0) root = id; }
EXPORT(proxy_on_new_connection) u32 on_new_connection(u32 id) {
  u8 *p;
  u32 n;
  u32 s = proxy_get_property(S("source\0address"), &p, &n);
  status("new connection", s);
  return 0;
}
EXPORT(proxy_on_downstream_data) u32 on_downstream_data(u32 id, u32 size, u32 end) {
  u8 *p;
  u32 n;
  u32 s = proxy_get_buffer_bytes(2, 0, size, &p, &n);
  result("downstream", s, p, n);
  if (n > 0 && p[n - 1] == '?') return 1; // wait for more
  if (equal(p, n, "trap")) __builtin_trap();
  if (equal(p, n, "close")) { proxy_close_stream(2); return 1; }
  if (n > 0) proxy_set_buffer_bytes(2, 0, 0, S(">"));
  return 0;
}
EXPORT(proxy_on_upstream_data) u32 on_upstream_data(u32 id, u32 size, u32 end) {
  u8 *p;
  u32 n;
  u32 s = proxy_get_buffer_bytes(3, 0, size, &p, &n);
  result("upstream", s, p, n);
  if (n > 0 && p[n - 1] == '~') return 1;
  if (n > 0) proxy_set_buffer_bytes(3, 0x7fffffff, 0, S("<"));
  return 0;
}
EXPORT(proxy_on_downstream_connection_close) void on_downstream_close(u32 id, u32 peer) { status("downstream close", peer); }
EXPORT(proxy_on_upstream_connection_close) void on_upstream_close(u32 id, u32 peer) { status("upstream close", peer); }
EXPORT(proxy_on_done) u32 on_done(u32 id) { if (id != root) status("done", 0); return 1; }
EXPORT(proxy_on_log) void on_log(u32 id) {
  u8 *p;
  u32 n;
  if (id == root) {
    u32 s = proxy_get_header_map_value(0, S(":path"), &p, &n);
    result("root log path", s, p, n);
    s = proxy_get_property(S("response\0code"), &p, &n);
    status("code", s == 0 ? *(u32 *)p : 0);
    s = proxy_get_header_map_value(2, S("x-absent"), &p, &n);
    status("absent", s);
  } else status("log", 0);
}
EXPORT(proxy_on_delete) void on_delete(u32 id) { if (id != root) status("delete", 0); }
