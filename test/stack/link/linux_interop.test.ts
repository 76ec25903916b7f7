/** Our stack and the Linux kernel as peers over TUN and TAP in a network namespace: ping, both directions, both families, bad links. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { probeIoUring } from '../../../src/core/sys/io_uring.ts';
import { PacketPool } from '../../../src/stack/graph/packet.ts';
import { IpAddress } from '../../../src/stack/ip/address.ts';
import type { Device } from '../../../src/stack/link/device.ts';
import { FaultInjector, type Faults } from '../../../src/stack/link/fault_injector.ts';
import { PacketSocketDevice } from '../../../src/stack/link/packet_socket.ts';
import { nativePool, TunDevice } from '../../../src/stack/link/tun.ts';
import { XdpDevice } from '../../../src/stack/link/xdp.ts';
import type { TcpConnection } from '../../../src/stack/tcp/connection.ts';
import { cannotMakeNamespace, cannotUseXdp, clockUs, KernelPeer, type KernelPeerOptions } from './namespace.ts';

const reason = cannotMakeNamespace();
const skip = reason === null ? false : reason;
const xdpSkip = skip || (cannotUseXdp() ?? false);
const skipOf = (kind: string): string | false => (kind === 'xdp' ? xdpSkip : skip);
const ringReason = probeIoUring();

const KERNEL_CLIENT = (address: string, port: number, bytes: number): string => `
import socket, hashlib, threading
s = socket.create_connection(('${address}', ${port}), timeout=15)
data = bytes((i * 7 + (i >> 8) * 13) & 255 for i in range(65536))
total = ${bytes}
def send():
    left = total
    while left > 0:
        n = min(left, len(data)); s.sendall(data[:n]); left -= n
    s.shutdown(socket.SHUT_WR)
t = threading.Thread(target=send); t.start()
h = hashlib.sha256(); n = 0
while True:
    b = s.recv(1 << 16)
    if not b: break
    h.update(b); n += len(b)
t.join()
print(n, h.hexdigest())
`;

const KERNEL_SERVER = (family: string, bytes: number): string => `
import socket, hashlib
l = socket.socket(socket.${family}); l.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
l.settimeout(30); l.bind(('', 9000)); l.listen()
s, _ = l.accept(); s.settimeout(30)
h = hashlib.sha256(); n = 0
while True:
    b = s.recv(1 << 16)
    if not b: break
    h.update(b); n += len(b)
data = bytes((i * 7 + (i >> 8) * 13) & 255 for i in range(65536))
left = ${bytes}
while left > 0:
    k = min(left, len(data)); s.sendall(data[:k]); left -= k
s.close()
print(n, h.hexdigest())
`;

function pattern(bytes: number): Buffer {
  const block = Buffer.from(Array.from({ length: 65_536 }, (_, i) => (i * 7 + (i >> 8) * 13) & 255));
  return Buffer.concat(Array.from({ length: Math.ceil(bytes / block.length) }, () => block)).subarray(0, bytes);
}

const digest = (data: Uint8Array): string => createHash('sha256').update(data).digest('hex');

/** Sends `data` and collects what comes; settles when the connection is over. */
function exchange(c: TcpConnection, data: Uint8Array): Promise<{ bytes: number; hash: string; error: string }> {
  const hash = createHash('sha256');
  let bytes = 0;
  let sent = 0;
  const pump = (): void => {
    sent += c.write(data, sent, data.length - sent);
    if (sent === data.length) c.shutdown();
  };
  const drain = (): void => {
    for (let part = c.received.peek(); part.length > 0; part = c.received.peek()) {
      hash.update(part);
      bytes += part.length;
      c.consume(part.length);
    }
  };
  return new Promise((resolve) => {
    c.app = {
      onConnected: pump,
      onSpace: pump,
      onData: drain,
      onEnd: drain,
      onClosed: (_c, error) => resolve({ bytes, hash: hash.digest('hex'), error }),
    };
    if (c.canWrite && c.synchronized) pump();
  });
}

async function withPeer<D extends Device = Device>(
  options: KernelPeerOptions,
  use: (peer: KernelPeer<D>) => Promise<void>,
): Promise<void> {
  const peer = new KernelPeer<D>(options);
  try {
    await use(peer);
  } finally {
    peer.close();
  }
}

/** Kernel client to our server, each sending `bytes`. */
async function kernelToUs(peer: KernelPeer, isV4: boolean, bytes: number): Promise<void> {
  const data = pattern(bytes);
  const results: ReturnType<typeof exchange>[] = [];
  const listener = peer.stack.tcp.listen({
    address: IpAddress.parse(isV4 ? '0.0.0.0' : '::')!,
    port: 80,
    onAccept: (c) => {
      results.push(exchange(c, data));
      return c.app;
    },
  });
  assert.ok(typeof listener !== 'string');
  const said = await peer.python(KERNEL_CLIENT(isV4 ? '10.77.0.2' : 'fd77::2', 80, bytes));
  assert.equal(said, `${bytes} ${digest(data)}`);
  const ours = await results[0];
  assert.deepEqual(ours, { bytes, hash: digest(data), error: 'none' });
  listener.close();
}

/** Our client to a kernel server, each sending `bytes`. */
async function usToKernel(peer: KernelPeer, isV4: boolean, bytes: number): Promise<void> {
  const data = pattern(bytes);
  const said = peer.python(KERNEL_SERVER(isV4 ? 'AF_INET' : 'AF_INET6', bytes));
  const remote = IpAddress.parse(isV4 ? '10.77.0.1' : 'fd77::1')!;
  for (;;) {
    const c = peer.stack.tcp.connect({ remote, remotePort: 9000 }, clockUs());
    if (typeof c === 'string') assert.fail(c);
    const over = exchange(c, data);
    peer.kick();
    const result = await over;
    // Until the server listens.
    if (result.error === 'refused') continue;
    assert.deepEqual(result, { bytes, hash: digest(data), error: 'none' });
    break;
  }
  assert.equal(await said, `${bytes} ${digest(data)}`);
}

const PING = `
import socket, struct, os
def checksum(b):
    s = sum(struct.unpack('!%dH' % (len(b) // 2), b)); s = (s >> 16) + (s & 0xffff); return ~(s + (s >> 16)) & 0xffff
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, 1); s.settimeout(20)
for size in (56, 3000):
    body = os.urandom(size)
    p = struct.pack('!BBHHH', 8, 0, 0, 7, size) + body
    p = p[:2] + struct.pack('!H', checksum(p)) + p[4:]
    s.sendto(p, ('10.77.0.2', 0))
    r = s.recv(65535)
    assert r[20] == 0 and r[28:] == body, r[:40]
s = socket.socket(socket.AF_INET6, socket.SOCK_RAW, 58); s.settimeout(20)
for size in (56, 3000):
    body = os.urandom(size)
    s.sendto(struct.pack('!BBHHH', 128, 0, 0, 7, size) + body, ('fd77::2', 0))
    while True:
        r = s.recv(65535)
        if r[0] == 129: break
    assert r[8:] == body
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.settimeout(5); u.connect(('10.77.0.2', 4))
try:
    u.send(b'x'); u.recv(10); print('no error')
except ConnectionRefusedError:
    print('ok')
`;

for (const kind of ['tun', 'tap', 'packet', 'xdp'] as const)
  test(`${kind}: the kernel pings us, whole and in fragments, and UDP to no port is refused`, { skip: skipOf(kind) }, () =>
    withPeer({ kind, offload: true }, async (peer) => {
      assert.equal(await peer.python(PING), 'ok');
    }),
  );

test('UDP datagrams of all sizes come back', { skip }, () =>
  withPeer({ kind: 'tun', offload: true }, async (peer) => {
    peer.stack.udp.bind(IpAddress.parse('0.0.0.0')!, 7, (socket, data, remote, port) => socket.send(data, remote, port));
    const said = await peer.python(`
import socket, os
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(20); s.connect(('10.77.0.2', 7))
for size in (0, 1, 2, 100, 1472, 1473, 9000, 65507):
    b = os.urandom(size); s.send(b); assert s.recv(65535) == b, size
print('ok')`);
    assert.equal(said, 'ok');
  }),
);

const MEGABYTES = 8 * 1024 * 1024;
for (const [kind, offload, isV4, ring, threaded] of [
  ['tun', true, true, true, false],
  ['tun', true, false, true, false],
  ['tun', true, true, false, false],
  ['tap', true, true, true, true],
  ['tap', false, false, true, true],
  ['tap', false, true, false, false],
  ['tun', 'checksum', true, true, true],
  ['tun', 'checksum', false, true, false],
  ['tap', 'checksum', false, false, true],
] as const) {
  const how = offload === true ? 'with offload' : offload === false ? 'without offload' : 'with checksum offload';
  const calls = ring ? 'a ring' : 'a call per packet';
  const taken = threaded ? ', taken by a kernel thread' : '';
  test(`${kind} ${how}, IPv${isV4 ? 4 : 6}, ${calls}${taken}: megabytes both ways, active and passive`, { skip }, () =>
    withPeer<TunDevice>({ kind, offload, ring, threaded }, async (peer) => {
      assert.equal(peer.device.ring !== null, ring && ringReason === null);
      await kernelToUs(peer, isV4, MEGABYTES);
      await usToKernel(peer, isV4, MEGABYTES);
      assert.equal(peer.stack.pool.inUse, 0);
    }),
  );
}

for (const [offload, isV4, kernelOffload] of [
  [true, true, true],
  [true, false, false],
  ['checksum', true, false],
  ['checksum', false, true],
  [false, true, false],
] as const) {
  const ours = offload === true ? 'with offload' : offload === false ? 'without offload' : 'with checksum offload';
  const theirs = kernelOffload ? 'with' : 'without';
  test(`packet socket ${ours}, kernel ${theirs}, IPv${isV4 ? 4 : 6}: megabytes both ways`, { skip }, () =>
    withPeer<PacketSocketDevice>({ kind: 'packet', offload, kernelOffload }, async (peer) => {
      await kernelToUs(peer, isV4, MEGABYTES);
      await usToKernel(peer, isV4, MEGABYTES);
      assert.equal(peer.stack.pool.inUse, 0);
      const { counters, sends } = peer.device;
      if (offload !== true) assert.ok(counters.txPackets > 4 * sends, `${counters.txPackets} packets in ${sends} calls`);
    }),
  );
}

for (const [offload, isV4, kernelOffload] of [
  [true, true, true],
  [true, false, false],
  [false, true, true],
  [false, false, false],
] as const) {
  const ours = offload ? 'with checksum offload' : 'without offload';
  const theirs = kernelOffload ? 'with' : 'without';
  test(`AF_XDP ${ours}, kernel ${theirs}, IPv${isV4 ? 4 : 6}: megabytes both ways`, { skip: xdpSkip }, () =>
    withPeer<XdpDevice>({ kind: 'xdp', offload, kernelOffload }, async (peer) => {
      await kernelToUs(peer, isV4, MEGABYTES);
      await usToKernel(peer, isV4, MEGABYTES);
      const { counters, sends } = peer.device;
      assert.ok(counters.txPackets > sends, `${counters.txPackets} packets in ${sends} calls`);
      peer.kick();
      assert.equal(peer.stack.pool.inUse, 0);
    }),
  );
}

test('AF_XDP: an interface that has a program already is refused, and free again afterwards', { skip: xdpSkip }, () =>
  withPeer({ kind: 'packet', offload: true }, async (peer) => {
    const open = (): XdpDevice => {
      const options = { small: 512, large: 1 };
      const memory = nativePool(options);
      return new XdpDevice({ interface: peer.device.name }, memory, new PacketPool(options, memory));
    };
    const first = open();
    assert.throws(open, { code: 'EBUSY' });
    first.close();
    // The kernel lets go of the queue a little after the descriptor is closed.
    for (let free = false; !free; ) {
      await new Promise((resolve) => setImmediate(resolve));
      try {
        open().close();
        free = true;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EBUSY') throw error;
      }
    }
  }),
);

test(
  'AF_XDP on a veth: the kernel works in a thread of its own until the device is closed, unless told otherwise',
  { skip: xdpSkip },
  () =>
    withPeer({ kind: 'packet', offload: true }, async (peer) => {
      const { name } = peer.device;
      const threaded = (): string => readFileSync(`/sys/class/net/${name}/threaded`, 'latin1').trim();
      const options = { small: 512, large: 1 };
      for (const wanted of [undefined, true, false]) {
        const memory = nativePool(options);
        let device: XdpDevice | null = null;
        while (device === null)
          try {
            device = new XdpDevice({ interface: name, threaded: wanted }, memory, new PacketPool(options, memory));
          } catch (error) {
            // The kernel lets go of the queue a little after the one before was closed.
            if ((error as NodeJS.ErrnoException).code !== 'EBUSY') throw error;
            await new Promise((resolve) => setImmediate(resolve));
          }
        assert.equal(threaded(), wanted === false ? '0' : '1');
        device.close();
        assert.equal(threaded(), '0');
      }
    }),
);

test('packet socket: what a slow reader has not read stays as it was sent', { skip }, () =>
  withPeer({ kind: 'packet', offload: 'checksum' }, async (peer) => {
    const data = pattern(MEGABYTES);
    const listener = peer.stack.tcp.listen({
      address: IpAddress.parse('0.0.0.0')!,
      port: 80,
      onAccept: (c) => {
        void exchange(c, data);
        return c.app;
      },
    });
    assert.ok(typeof listener !== 'string');
    // Everything is in the receiver's queue, and the ring has been used again and again, before the first byte is read.
    const said = await peer.python(`
import socket, hashlib, time, fcntl, termios, struct
SO_RCVBUFFORCE = 33
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 25); s.connect(('10.77.0.2', 80))
last = -1
while True:
    n = struct.unpack('i', fcntl.ioctl(s, termios.FIONREAD, b'0000'))[0]
    if n == last and n > 0: break
    last = n; time.sleep(0.05)
h = hashlib.sha256(); s.shutdown(socket.SHUT_WR)
while True:
    b = s.recv(1 << 16)
    if not b: break
    h.update(b)
print(last, h.hexdigest())`);
    assert.equal(said, `${MEGABYTES} ${digest(data)}`);
  }),
);

test('packet socket: an interface that is not there is an error that names it', { skip }, () => {
  assert.throws(
    () => new PacketSocketDevice({ interface: 'no-such-if' }, nativePool({ small: 16, large: 1 })),
    /SIOCGIFINDEX: No such device \(no-such-if\)/,
  );
});

test('what is closed is gone: the device of a TUN, the socket of a packet device', { skip }, () =>
  withPeer({ kind: 'packet', offload: true }, async (peer) => {
    const options = { small: 16, large: 1 };
    const memory = nativePool(options);
    const pool = new PacketPool(options, memory);
    const sockets = (): number => readFileSync('/proc/net/packet', 'latin1').split('\n').length;
    const before = sockets();
    const tun = new TunDevice({ name: 'slt%d', kind: 'tun', offload: true }, memory);
    const socket = new PacketSocketDevice({ interface: peer.device.name }, memory);
    const there = (): boolean => existsSync(`/sys/class/net/${tun.name}`);
    assert.ok(there());
    assert.equal(sockets(), before + 2);
    for (const device of [tun, socket]) device.close();
    // The kernel does both a little after the descriptors are closed.
    while (there() || sockets() !== before) await new Promise((resolve) => setImmediate(resolve));
    for (const device of [tun, socket]) {
      assert.equal(device.receive(pool, 1), null);
      const packet = pool.alloc(100)!;
      packet.end = packet.start + 100;
      device.transmit(packet);
      assert.equal(device.counters.txDropped, 1);
      device.flush(1);
      device.close();
    }
    assert.equal(pool.inUse, 0);
  }),
);

test('tun, a ring: many packets per system call', { skip: skip || (ringReason ?? false) }, () =>
  withPeer<TunDevice>({ kind: 'tun', offload: 'checksum' }, async (peer) => {
    await kernelToUs(peer, true, MEGABYTES);
    const { counters, ring } = peer.device;
    const packets = counters.rxPackets + counters.txPackets;
    assert.ok(packets > 2 * ring!.enters, `${packets} packets in ${ring!.enters} calls`);
    assert.equal(counters.txDropped, 0);
  }),
);

const links: [string, Faults, number, number][] = [
  ['1 % loss', { loss: 0.01, delayUs: 500 }, 1_000_000, 1500],
  ['5 % loss and reordering', { loss: 0.05, reorder: 0.05, reorderUs: 2000, delayUs: 500 }, 200_000, 1500],
  ['duplication and corruption', { duplicate: 0.02, corrupt: 0.01, delayUs: 200 }, 500_000, 1500],
  ['MTU 9000', {}, 2_000_000, 9000],
  ['MTU 576', { loss: 0.002 }, 300_000, 576],
];
/** On a TUN only: the device makes no difference to them. */
const more: typeof links = [
  ['0.1 % loss', { loss: 0.001, delayUs: 500 }, 2_000_000, 1500],
  ['bursts of loss', { burstStart: 0.002, burstEnd: 0.3, delayUs: 500 }, 500_000, 1500],
  ['MTU 1280', { loss: 0.002 }, 300_000, 1280],
  ['MTU 130, smaller than any', {}, 30_000, 130],
  ['MTU 65535, the largest there is', { loss: 0.002 }, 4_000_000, 65_535],
];
const kinds = ['tun', 'packet', 'xdp'] as const;
// A frame of AF_XDP is at most a slot of the pool.
const fits = ([, , , mtu]: (typeof links)[number], kind: string): boolean => kind !== 'xdp' || mtu <= 1500;
const all = [
  ...links.flatMap((link) => kinds.filter((kind) => fits(link, kind)).map((kind) => [...link, kind] as const)),
  ...more.map((link) => [...link, 'tun'] as const),
];
for (const [name, faults, bytes, mtu, kind] of all)
  test(`${kind}, ${name}: every byte arrives`, { skip: skipOf(kind) }, () =>
    withPeer({ kind, offload: false, mtu, wrap: (device) => new FaultInjector(device, 7, faults, faults) }, async (peer) => {
      // IPv6 has no links of less than 1280 bytes.
      for (const isV4 of kind === 'tun' && mtu >= 1280 ? [true, false] : [true]) {
        await kernelToUs(peer, isV4, bytes);
        await usToKernel(peer, isV4, bytes);
      }
    }),
  );

for (const kind of kinds)
  test(`${kind}: 200 connections at once`, { skip: skipOf(kind) }, () =>
    withPeer({ kind, offload: true }, async (peer) => {
      let accepted = 0;
      const listener = peer.stack.tcp.listen({
        address: IpAddress.parse('0.0.0.0')!,
        port: 80,
        onAccept: () => {
          accepted++;
          return {
            onData: (c) => {
              const data = c.received.peek().slice();
              c.consume(data.length);
              c.write(data);
            },
            onEnd: (c) => c.close(),
          };
        },
      });
      assert.ok(typeof listener !== 'string');
      const said = await peer.python(`
import socket
all = [socket.create_connection(('10.77.0.2', 80), timeout=10) for _ in range(200)]
for i, s in enumerate(all): s.sendall(b'hello %d' % i)
good = sum(s.recv(100) == b'hello %d' % i for i, s in enumerate(all))
for s in all: s.shutdown(socket.SHUT_WR)
ended = sum(s.recv(100) == b'' for s in all)
print(good, ended)`);
      assert.equal(said, '200 200');
      assert.equal(accepted, 200);
      assert.equal(peer.stack.pool.inUse, 0);
    }),
  );
