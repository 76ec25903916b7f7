// A filter that hands each request's path to the service's queue, and tells how many the service has seen.
#include "proxy_wasm.h"
EXPORT(proxy_abi_version_0_2_1) void marker(void) {}
EXPORT(proxy_on_request_headers) u32 on_request_headers(u32 id, u32 count, u32 end) {
  u8 *p;
  u32 n, token, cas;
  if (proxy_resolve_shared_queue("", 0, S("jobs"), &token) == 0 && proxy_get_header_map_value(0, S(":path"), &p, &n) == 0)
    status("enqueue", proxy_enqueue_shared_queue(token, p, n));
  return 0;
}
EXPORT(proxy_on_response_headers) u32 on_response_headers(u32 id, u32 count, u32 end) {
  u8 *p;
  u32 n, cas;
  if (proxy_get_shared_data(S("jobs"), &p, &n, &cas) == 0 && n == 4) {
    char digit = '0' + *(u32 *)p % 10;
    proxy_add_header_map_value(2, S("x-jobs"), &digit, 1);
  }
  return 0;
}
