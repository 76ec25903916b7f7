// A service: ticks, counts in shared data, listens to a queue, makes a call.
#include "proxy_wasm.h"
EXPORT(proxy_abi_version_0_2_1) void marker(void) {}
static u32 queue, ticks = 0, metric, token;
EXPORT(proxy_on_configure) u32 on_configure(u32 id, u32 size) {
  proxy_define_metric(0, S("service_ticks"), &metric);
  status("register", proxy_register_shared_queue(S("jobs"), &queue));
  proxy_set_tick_period_milliseconds(20);
  return 1;
}
EXPORT(proxy_on_tick) void on_tick(u32 id) {
  proxy_increment_metric(metric, 1);
  if (++ticks == 1) {
    const char *list[] = {":method", "GET", ":path", "/hello", ":authority", "x", 0};
    u32 n = pairs(list);
    status("call", proxy_http_call(S("node"), pairs_at, n, "", 0, "", 0, 2000, &token));
  }
}
EXPORT(proxy_on_http_call_response) void on_answer(u32 id, u32 t, u32 count, u32 size, u32 trailers) {
  u8 *p;
  u32 n;
  u32 s = proxy_get_header_map_value(6, S(":status"), &p, &n);
  result("service answer", s, p, n);
}
EXPORT(proxy_on_queue_ready) void on_queue_ready(u32 id, u32 t) {
  u8 *p;
  u32 n;
  u32 s = proxy_dequeue_shared_queue(t, &p, &n);
  result("job", s, p, n);
  u32 cas, count = 0;
  if (proxy_get_shared_data(S("jobs"), &p, &n, &cas) == 0 && n == 4) count = *(u32 *)p;
  count++;
  proxy_set_shared_data(S("jobs"), &count, 4, 0);
}
