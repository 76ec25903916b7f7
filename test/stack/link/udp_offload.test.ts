/** UDP segmentation offload with the Linux kernel: one packet of many datagrams each way, cut by the kernel, or here where it cannot. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { release } from 'node:os';
import { test } from 'node:test';
import { IpAddress } from '../../../src/stack/ip/address.ts';
import { cannotMakeNamespace, cannotUseXdp, KernelPeer, type KernelPeerOptions } from './namespace.ts';

const reason = cannotMakeNamespace();
const skip = reason === null ? false : reason;
const [major, minor] = release().split('.').map(Number);
const skipOf = (kind: string): string | false =>
  skip ||
  (kind === 'xdp' && cannotUseXdp()) ||
  (major * 100 + minor < 602 && 'the kernel has no UDP segments in virtio-net headers');

const SEGMENT = 1400;
const BYTES = 30 * SEGMENT + 7;
const SIZES = [...Array.from({ length: 30 }, () => SEGMENT), 7];
const data = Uint8Array.from({ length: BYTES }, (_, i) => (i * 7 + (i >> 9)) & 255);
const digest = createHash('sha256').update(data).digest('hex');

const RECEIVER = (family: string, address: string): string => `
import socket, hashlib
s = socket.socket(socket.${family}, socket.SOCK_DGRAM); s.settimeout(10); s.setsockopt(socket.SOL_SOCKET, 33, 1 << 22)
s.bind(('${address}', 9001)); s.sendto(b'ready', ('${address.slice(0, -1)}2', 9002)); h = hashlib.sha256(); sizes = []
for _ in range(31): b = s.recv(65535); h.update(b); sizes.append(len(b))
print(sizes, h.hexdigest())`;

/** UDP_SEGMENT: one send, many datagrams, one packet as far as the device allows. */
const SENDER = (family: string, address: string): string => `
import socket
s = socket.socket(socket.${family}, socket.SOCK_DGRAM); s.settimeout(10); s.setsockopt(socket.SOL_SOCKET, 33, 1 << 22)
s.setsockopt(17, 103, ${SEGMENT}); s.connect(('${address}', 9003))
s.send(bytes((i * 7 + (i >> 9)) & 255 for i in range(${BYTES})))
print(s.recv(100).decode())`;

const cases: readonly [Pick<KernelPeerOptions, 'kind' | 'offload' | 'ring' | 'kernelOffload'>, boolean, boolean][] = [
  [{ kind: 'tun', offload: true }, true, true],
  [{ kind: 'tap', offload: true, ring: false }, false, true],
  [{ kind: 'tun', offload: 'checksum' }, true, false],
  [{ kind: 'tap', offload: false }, false, false],
  [{ kind: 'packet', offload: true }, true, true],
  [{ kind: 'packet', offload: true, kernelOffload: false }, false, true],
  [{ kind: 'packet', offload: false }, true, false],
  [{ kind: 'xdp', offload: 'checksum', kernelOffload: false }, true, false],
];
for (const [options, isV4, whole] of cases) {
  const how = `${options.kind}, offload ${options.offload}${options.kernelOffload === false ? ', none at the kernel' : ''}`;
  test(`${how}, IPv${isV4 ? 4 : 6}: many datagrams in one packet, both ways`, { skip: skipOf(options.kind) }, async () => {
    const peer = new KernelPeer(options);
    try {
      const family = isV4 ? 'AF_INET' : 'AF_INET6';
      const [theirs, ours] = isV4 ? ['10.77.0.1', '10.77.0.2'] : ['fd77::1', 'fd77::2'];
      const { udp } = peer.stack;
      const { counters } = peer.device;
      const any = IpAddress.parse(isV4 ? '0.0.0.0' : '::')!;
      let packets = 0;
      const sender = udp.bind(any, 9002, (socket, _data, remote, port, local) => {
        const before = counters.txPackets;
        const source = (offset: number, to: Uint8Array, at: number, n: number): void =>
          to.set(data.subarray(offset, offset + n), at);
        assert.equal(udp.transmit(local, socket.port, remote, port, 0, BYTES, source, SEGMENT), BYTES);
        setImmediate(() => {
          packets = counters.txPackets - before;
        });
      })!;
      assert.equal(await peer.python(RECEIVER(family, theirs)), `[${SIZES.join(', ')}] ${digest}`);
      assert.equal(packets, whole ? 1 : SIZES.length);
      assert.equal(udp.stats.outDatagrams, SIZES.length);
      sender.close();

      const sizes: number[] = [];
      const hash = createHash('sha256');
      const before = counters.rxPackets;
      const receiver = udp.bind(any, 9003, (socket, part, remote, port) => {
        sizes.push(part.length);
        hash.update(part);
        if (sizes.length < SIZES.length) return;
        socket.send(Buffer.from(hash.digest('hex')), remote, port);
      })!;
      assert.equal(await peer.python(SENDER(family, ours)), digest);
      assert.deepEqual(sizes, SIZES);
      if (whole && options.kernelOffload !== false) assert.ok(counters.rxPackets - before < 6, `${counters.rxPackets - before}`);
      receiver.close();
      assert.equal(udp.stats.inDatagrams, 1 + SIZES.length);
    } finally {
      peer.close();
    }
  });
}
