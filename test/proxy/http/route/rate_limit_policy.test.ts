import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Slab } from '../../../../src/core/buffer/slab.ts';
import { HeaderMap } from '../../../../src/proxy/http/header_map.ts';
import {
  type RateLimitActionConfig,
  type RateLimitConfig,
  RateLimitEntry,
} from '../../../../src/proxy/http/route/rate_limit_policy.ts';
import { ipAddress } from '../../../../src/proxy/network/address.ts';
import { StreamInfo } from '../../../../src/proxy/stream_info/stream_info.ts';

const slab = new Slab(64);

function descriptorOf(actions: RateLimitActionConfig[], extra: RateLimitConfig = {}, from = '10.1.2.3') {
  const info = new StreamInfo();
  info.downstreamRemoteAddress = ipAddress(from, 1);
  info.dynamicMetadata = { auth: { user: { id: 'ann' }, limit: { requests_per_unit: 5, unit: 'HOUR' }, bad: { unit: 'NEVER' } } };
  info.routeMetadata = { auth: { plan: 'gold' } };
  const headers = HeaderMap.of(slab, [
    [':path', '/p?a=1&b=&a=2'],
    ['x-id', 'one'],
  ]);
  const source = { headers, info, serviceCluster: 'me', destinationCluster: 'there' };
  return new RateLimitEntry({ actions, ...extra }, 'rate_limits[0]').descriptor(source);
}

const METADATA_KEY = { key: 'auth', path: [{ key: 'user' }, { key: 'id' }] };
const MATCH = { name: 'x-id', stringMatch: { exact: 'one' } };

const CASES: [RateLimitActionConfig, string | undefined][] = [
  [{ sourceCluster: {} }, 'source_cluster=me'],
  [{ destinationCluster: {} }, 'destination_cluster=there'],
  [{ requestHeaders: { headerName: 'X-Id', descriptorKey: 'k' } }, 'k=one'],
  [{ requestHeaders: { headerName: 'x-none', descriptorKey: 'k' } }, undefined],
  [{ requestHeaders: { headerName: 'x-none', descriptorKey: 'k', skipIfAbsent: true } }, ''],
  [{ queryParameters: { queryParameterName: 'a', descriptorKey: 'q' } }, 'q=1'],
  [{ queryParameters: { queryParameterName: 'b', descriptorKey: 'q' } }, undefined],
  [{ queryParameters: { queryParameterName: 'c', descriptorKey: 'q', skipIfAbsent: true } }, ''],
  [{ remoteAddress: {} }, 'remote_address=10.1.2.3'],
  [{ maskedRemoteAddress: { v4PrefixMaskLen: 12 } }, 'masked_remote_address=10.0.0.0/12'],
  [{ maskedRemoteAddress: {} }, 'masked_remote_address=10.1.2.3/32'],
  [{ genericKey: { descriptorValue: 'v' } }, 'generic_key=v'],
  [{ genericKey: { descriptorValue: 'v', descriptorKey: 'k' } }, 'k=v'],
  [{ headerValueMatch: { descriptorValue: 'v', headers: [MATCH] } }, 'header_match=v'],
  [{ headerValueMatch: { descriptorValue: 'v', expectMatch: false, headers: [MATCH] } }, undefined],
  [{ queryParameterValueMatch: { descriptorValue: 'v', queryParameters: [{ name: 'a' }] } }, 'query_match=v'],
  [{ queryParameterValueMatch: { descriptorValue: 'v', queryParameters: [{ name: 'z' }] } }, undefined],
  [{ metadata: { descriptorKey: 'user', metadataKey: METADATA_KEY } }, 'user=ann'],
  [
    { metadata: { descriptorKey: 'plan', metadataKey: { key: 'auth', path: [{ key: 'plan' }] }, source: 'ROUTE_ENTRY' } },
    'plan=gold',
  ],
  [{ metadata: { descriptorKey: 'k', metadataKey: { key: 'none', path: [{ key: 'a' }] }, defaultValue: 'd' } }, 'k=d'],
  [{ metadata: { descriptorKey: 'k', metadataKey: { key: 'none', path: [{ key: 'a' }] } } }, undefined],
];
for (const [action, expected] of CASES) {
  test(`${JSON.stringify(action)}: ${expected ?? 'no descriptor'}`, () => {
    const entries = descriptorOf([{ genericKey: { descriptorValue: 'first' } }, action])?.entries;
    assert.equal(
      entries
        ?.slice(1)
        .map(({ key, value }) => `${key}=${value}`)
        .join(),
      expected,
    );
  });
}

test('addresses of IPv6', () => {
  const masked = descriptorOf([{ maskedRemoteAddress: { v6PrefixMaskLen: 64 } }], {}, '2001:db8:1:2:3::4');
  assert.deepEqual(masked?.entries, [{ key: 'masked_remote_address', value: '2001:db8:1:2::/64' }]);
});

test('a descriptor without entries is none', () => {
  assert.equal(descriptorOf([{ requestHeaders: { headerName: 'x-none', descriptorKey: 'k', skipIfAbsent: true } }]), undefined);
});

test('limits of metadata', () => {
  const limit = (key: string) =>
    descriptorOf([{ remoteAddress: {} }], { limit: { dynamicMetadata: { metadataKey: { key: 'auth', path: [{ key }] } } } })
      ?.limit;
  assert.deepEqual(limit('limit'), { requestsPerUnit: 5, unit: 'HOUR' });
  assert.equal(limit('bad'), null);
  assert.equal(limit('absent'), null);
});
