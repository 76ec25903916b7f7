#!/bin/sh
# Programs that tests and benches talk to. Needs root and apt; without them the tests that want one of these are reported as skipped.
set -u
wanted=""
for pair in nginx:nginx-light haproxy:haproxy wrk:wrk curl:curl ip:iproute2 openssl:openssl taskset:util-linux cc:gcc h2load:nghttp2-client iperf3:iperf3 nft:nftables clang:clang wasm-ld:lld redis-server:redis-server socat:socat ncat:ncat testssl:testssl.sh; do
  command -v "${pair%%:*}" >/dev/null 2>&1 || wanted="$wanted ${pair##*:}"
done
[ -z "$wanted" ] && exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
  echo "not installed (needs root and apt-get):$wanted"
  exit 0
fi
export DEBIAN_FRONTEND=noninteractive
# A service that the package would start has no business here.
printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d.sluice 2>/dev/null || true
if [ ! -e /usr/sbin/policy-rc.d ]; then
  mv /usr/sbin/policy-rc.d.sluice /usr/sbin/policy-rc.d && chmod +x /usr/sbin/policy-rc.d
  trap 'rm -f /usr/sbin/policy-rc.d' EXIT
else
  rm -f /usr/sbin/policy-rc.d.sluice
fi
(apt-get update -q && apt-get install -q -y --no-install-recommends $wanted) >/tmp/sluice-install-peers.log 2>&1 ||
  echo "could not install:$wanted (see /tmp/sluice-install-peers.log)"
