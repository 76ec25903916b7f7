import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { factory } from '../../../../src/proxy/extensions/listener_filters/proxy_protocol/config.ts';
import { parseProxyHeader } from '../../../../src/proxy/extensions/listener_filters/proxy_protocol/header.ts';
import { ListenerFilterStatus } from '../../../../src/proxy/network/listener_filter.ts';
import { cut, FilterHarness } from './support.ts';

const SIGNATURE = Buffer.from('0d0a0d0a000d0a515549540a', 'hex');
const text = (value: string) => Buffer.from(value, 'latin1');

function v2({
  command = 0x21,
  family = 0x11,
  body = Buffer.from('c0000201c633640a1f9001bb', 'hex'),
  tlvs = [] as [number, string][],
} = {}): Buffer {
  const extra = tlvs.map(([type, value]) =>
    Buffer.concat([Buffer.from([type, value.length >> 8, value.length & 0xff]), text(value)]),
  );
  const all = Buffer.concat([body, ...extra]);
  return Buffer.concat([SIGNATURE, Buffer.from([command, family, all.length >> 8, all.length & 0xff]), all]);
}

const V6_BODY = Buffer.from(`20010db8${'00'.repeat(11)}0120010db8${'00'.repeat(11)}021f9001bb`, 'hex');

interface Good {
  title: string;
  header: Buffer;
  remote: string;
  local: string;
  restored: boolean;
  version: string;
}

const OWN = { remote: '127.0.0.1:55555', local: '127.0.0.1:10000', restored: false };
const GOOD: Good[] = [
  {
    title: 'v1 TCP4',
    header: text('PROXY TCP4 192.0.2.1 198.51.100.10 8080 443\r\n'),
    remote: '192.0.2.1:8080',
    local: '198.51.100.10:443',
    restored: true,
    version: 'v1',
  },
  {
    title: 'v1 TCP6',
    header: text('PROXY TCP6 2001:db8::1 2001:db8::2 8080 443\r\n'),
    remote: '[2001:db8::1]:8080',
    local: '[2001:db8::2]:443',
    restored: true,
    version: 'v1',
  },
  {
    title: 'v1 with our own address',
    header: text('PROXY TCP4 192.0.2.1 127.0.0.1 8080 10000\r\n'),
    remote: '192.0.2.1:8080',
    local: '127.0.0.1:10000',
    restored: false,
    version: 'v1',
  },
  { title: 'v1 UNKNOWN', header: text('PROXY UNKNOWN\r\n'), ...OWN, version: 'v1' },
  { title: 'v1 UNKNOWN with anything', header: text('PROXY UNKNOWN ffff:: x 1 2\r\n'), ...OWN, version: 'v1' },
  { title: 'v2 TCP4', header: v2(), remote: '192.0.2.1:8080', local: '198.51.100.10:443', restored: true, version: 'v2' },
  {
    title: 'v2 UDP4',
    header: v2({ family: 0x12 }),
    remote: '192.0.2.1:8080',
    local: '198.51.100.10:443',
    restored: true,
    version: 'v2',
  },
  {
    title: 'v2 TCP6',
    header: v2({ family: 0x21, body: V6_BODY }),
    remote: '[2001:db8::1]:8080',
    local: '[2001:db8::2]:443',
    restored: true,
    version: 'v2',
  },
  { title: 'v2 LOCAL', header: v2({ command: 0x20, family: 0, body: Buffer.alloc(0) }), ...OWN, version: 'v2' },
  {
    title: 'v2 LOCAL with bytes to ignore',
    header: v2({ command: 0x20, body: Buffer.from('deadbeef', 'hex') }),
    ...OWN,
    version: 'v2',
  },
  {
    title: 'v2 with TLVs',
    header: v2({
      tlvs: [
        [1, 'h2'],
        [4, ''],
      ],
    }),
    remote: '192.0.2.1:8080',
    local: '198.51.100.10:443',
    restored: true,
    version: 'v2',
  },
];

for (const { title, header, remote, local, restored, version } of GOOD) {
  test(`proxy_protocol: ${title}`, () => {
    for (const size of [1, 10, 1000]) {
      const run = new FilterHarness(factory).run(cut(Buffer.concat([header, text('payload')]), size));
      assert.equal(run.status, ListenerFilterStatus.Continue);
      assert.equal(run.socket.remoteAddress.asString, remote);
      assert.equal(run.socket.localAddress.asString, local);
      assert.equal(run.socket.localAddressRestored, restored);
      assert.equal(run.socket.directRemoteAddress.asString, '127.0.0.1:55555');
      assert.equal(Buffer.from(run.rest).toString('latin1'), 'payload');
      assert.equal(run.counter(`proxy_proto.versions.${version}.found`), 1);
    }
  });
}

const BAD: [string, Buffer, string][] = [
  ['no header', text('GET / HTTP/1.1\r\nhost: x\r\n'), 'not_found_disallowed'],
  ['v1 without a line end', text(`PROXY TCP4 ${'1'.repeat(200)}`), 'versions.v1.error'],
  ['v1 with an unknown protocol', text('PROXY TCP5 192.0.2.1 192.0.2.2 1 2\r\n'), 'versions.v1.error'],
  ['v1 with too few words', text('PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n'), 'versions.v1.error'],
  ['v1 with two spaces', text('PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n'), 'versions.v1.error'],
  ['v1 with the wrong family', text('PROXY TCP4 2001:db8::1 192.0.2.2 1 2\r\n'), 'versions.v1.error'],
  ['v1 with a port that is too big', text('PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n'), 'versions.v1.error'],
  ['v1 with a signed port', text('PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n'), 'versions.v1.error'],
  ['v1 with a multicast address', text('PROXY TCP4 224.0.0.1 192.0.2.2 1 2\r\n'), 'versions.v1.error'],
  ['v1 with any address', text('PROXY TCP6 :: 2001:db8::1 1 2\r\n'), 'versions.v1.error'],
  ['v1 with a zone', text('PROXY TCP6 fe80::1%lo 2001:db8::1 1 2\r\n'), 'versions.v1.error'],
  ['v2 of another version', v2({ command: 0x11 }), 'versions.v2.error'],
  ['v2 with another command', v2({ command: 0x22 }), 'versions.v2.error'],
  ['v2 unix', v2({ family: 0x31, body: Buffer.alloc(216, 1) }), 'versions.v2.error'],
  ['v2 unspecified', v2({ family: 0 }), 'versions.v2.error'],
  ['v2 with too short a body', v2({ body: Buffer.alloc(11, 1) }), 'versions.v2.error'],
  ['v2 with half a TLV', v2({ body: Buffer.concat([v2().subarray(16), Buffer.from([1, 0])]) }), 'versions.v2.error'],
  [
    'v2 with a TLV beyond the end',
    v2({ body: Buffer.concat([v2().subarray(16), Buffer.from([1, 0, 9, 0])]) }),
    'versions.v2.error',
  ],
  ['v2 with a broadcast address', v2({ body: Buffer.from('ffffffffc633640a1f9001bb', 'hex') }), 'versions.v2.error'],
];

for (const [title, bytes, stat] of BAD) {
  test(`proxy_protocol: refuses ${title}`, () => {
    for (const size of [1, 10, 1000]) {
      const run = new FilterHarness(factory, { statPrefix: 'p' }).run(cut(bytes, size));
      assert.equal(run.status, ListenerFilterStatus.Close);
      assert.equal(run.counter(`proxy_proto.p.${stat}`), 1);
    }
  });
}

test('proxy_protocol: optional header', () => {
  const config = { allowRequestsWithoutProxyProtocol: true };
  const plain = new FilterHarness(factory, config).run([text('GE'), text('T /')]);
  assert.equal(plain.status, ListenerFilterStatus.Continue);
  assert.equal(plain.pieces, 1);
  assert.equal(plain.counter('proxy_proto.not_found_allowed'), 1);
  assert.equal(Buffer.from(plain.rest).toString(), 'GET /');
  // As long as it can still become a header, the decision waits.
  assert.equal(new FilterHarness(factory, config).run([text('PRO')]).status, ListenerFilterStatus.StopIteration);
  assert.equal(new FilterHarness(factory, config).run([GOOD[0].header]).socket.remoteAddress.asString, '192.0.2.1:8080');
});

test('proxy_protocol: disallowed versions', () => {
  const only1 = new FilterHarness(factory, { disallowedVersions: ['V2'] }).run([v2()]);
  assert.equal(only1.status, ListenerFilterStatus.Close);
  assert.equal(only1.counter('proxy_proto.versions.v2.disallowed'), 1);
  assert.equal(
    new FilterHarness(factory, { disallowedVersions: ['V2'] }).run([GOOD[0].header]).status,
    ListenerFilterStatus.Continue,
  );
  // Together with an optional header, a disallowed one is payload.
  const through = new FilterHarness(factory, { disallowedVersions: ['V2'], allowRequestsWithoutProxyProtocol: true }).run([v2()]);
  assert.equal(through.status, ListenerFilterStatus.Continue);
  assert.deepEqual(Buffer.from(through.rest), v2());
});

test('proxy_protocol: rules turn TLVs into dynamic metadata', () => {
  const rules = [
    { tlvType: 1, onTlvPresent: { metadataNamespace: '', key: 'alpn' } },
    { tlvType: 0xea, onTlvPresent: { metadataNamespace: 'cloud', key: 'vpce' } },
    { tlvType: 2, onTlvPresent: { metadataNamespace: 'cloud', key: 'bytes' } },
  ];
  const run = new FilterHarness(factory, { rules }).run([
    v2({
      tlvs: [
        [1, 'h2'],
        [0xea, 'vpce-1'],
        [2, 'a\xffb'],
        [3, 'ignored'],
      ],
    }),
  ]);
  assert.deepEqual(run.info.dynamicMetadata, {
    'envoy.filters.listener.proxy_protocol': { alpn: 'h2' },
    cloud: { vpce: 'vpce-1', bytes: 'a!b' },
  });
});

test('proxy_protocol: a header of 40 KB of TLVs arrives in pieces', () => {
  const header = v2({
    tlvs: [
      [5, 'x'.repeat(20_000)],
      [6, 'y'.repeat(20_000)],
    ],
  });
  const run = new FilterHarness(factory).run(cut(Buffer.concat([header, text('!')]), 1400));
  assert.equal(run.status, ListenerFilterStatus.Continue);
  assert.equal(Buffer.from(run.rest).toString(), '!');
});

test('proxy_protocol: refuses what it cannot do', () => {
  assert.throws(() => new FilterHarness(factory, { passThroughTlvs: { matchType: 'INCLUDE_ALL' } }), /pass_through_tlvs/);
});

test('proxy_protocol: random bytes behind either signature neither throw nor take more than they say', () => {
  const bytes = fc.tuple(
    fc.constantFrom(SIGNATURE, text('PROXY '), text('PROXY TCP4 '), Buffer.alloc(0)),
    fc.uint8Array({ maxLength: 120 }),
  );
  fc.assert(
    fc.property(bytes, ([start, rest]) => {
      const all = Buffer.concat([start, rest]);
      const header = parseProxyHeader(all);
      if (header.kind === 'header') assert.ok(header.length <= all.length);
      if (header.kind === 'more') assert.ok(header.length > all.length);
    }),
    { numRuns: 3000 },
  );
});
