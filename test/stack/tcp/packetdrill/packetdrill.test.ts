/** Packetdrill scripts: ours, one test each, and what the language does with a script that is wrong or that our stack does not follow. */
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { parseScript } from './parse.ts';
import { runPacketdrill } from './runner.ts';

const files = globSync('*.pkt', { cwd: fileURLToPath(new URL('./scripts/', import.meta.url)) }).sort();
for (const file of files)
  test(basename(file, '.pkt'), () => runPacketdrill(readFileSync(new URL(`./scripts/${file}`, import.meta.url), 'utf8')));

const HANDSHAKE = `0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
+0 listen(3, 1) = 0
+0 < S 0:0(0) win 65535 <mss 1460>
+0 > S. 0:0(0) ack 1 <mss 1460>
+.01 < . 1:1(0) ack 1 win 65535
+0 accept(3, ..., ...) = 4
`;

const differences: readonly [string, RegExp][] = [
  ['+0 > . 1:1(0) ack 1', /^line 7: nothing was sent; expected \. 1:1\(0\) ack 1$/],
  ['+0 write(4, ..., 100) = 99', /^line 7: write returned 100, not 99$/],
  ['+0 write(4, ..., 100) = 100', /^line 7: sent after the end of the script: P\. 1:101\(100\) ack 1 win 65535 <>$/],
  [
    '+0 write(4, ..., 100) = 100\n+0 > P. 1:51(50) ack 1',
    /^line 8: length: expected P\. 1:51\(50\) ack 1, sent was P\. 1:101\(100\)/,
  ],
  ['+0 write(4, ..., 100) = 100\n+0 > P. 2:102(100) ack 1', /^line 8: sequence number/],
  ['+0 write(4, ..., 100) = 100\n+0 > . 1:101(100) ack 1', /^line 8: flags/],
  ['+0 write(4, ..., 100) = 100\n+0 > P. 1:101(100) ack 2', /^line 8: acknowledgment/],
  ['+0 write(4, ..., 100) = 100\n+0 > P. 1:101(100) ack 1 win 7', /^line 8: window/],
  ['+0 write(4, ..., 100) = 100\n+0 > P. 1:101(100) ack 1 <nop,nop,TS val 1 ecr 2>', /^line 8: option TS/],
  ['+0 write(4, ..., 100) = 100\n+1 > P. 1:101(100) ack 1', /^line 8: .* was sent -1\.000000 s from when it should have been$/],
  ['+0 read(4, ..., 100) = 100', /^line 7: read blocks$/],
  ['+0...0.1 read(4, ..., 100) = 100\n+1 close(3) = 0', /^line 7: read has not returned$/],
  ['+0...0.1 read(4, ..., 100) = 100\n+0 read(4, ..., 100) = 100', /^line 8: read \(line 7\) has not returned$/],
  ['+0...0.5 read(4, ..., 9) = 9\n+.1 < P. 1:10(9) ack 1 win 9', /^line 7: read has returned \d+ us too early$/],
  ['+0 %{ assert tcpi_state == 2 }%', /^line 7: tcpi_state is 1, not == 2$/],
  ['+0 %{ assert tcpi_what == 2 }%', /^line 7: tcpi_what is not known; known are tcpi_state/],
  ['+0 getsockopt(4, SOL_SOCKET, SO_ERROR, [ECONNRESET], [4]) = 0', /^line 7: SO_ERROR is 0, not ECONNRESET$/],
];
test('a script that the stack does not follow fails with line, expectation and what was', () => {
  for (const [rest, message] of differences) assert.throws(() => runPacketdrill(`${HANDSHAKE}${rest}\n`), { message }, rest);
  runPacketdrill(`${HANDSHAKE}+0 write(4, ..., 100) = 100\n`, { lax: true });
});

const mistakes: readonly [string, RegExp][] = [
  ['+0 poll(4) = 0', /^line 7: the call poll is not known$/],
  ['+0 setsockopt(4, SOL_TCP, TCP_CORK, [1], 4) = 0', /^line 7: the option TCP_CORK is not known$/],
  ['listen(3, 1) = 0', /^line 7: no time in front of: listen/],
  ['+0 < . 1:1(0) ack 1', /^line 7: a packet to the stack needs a window$/],
  ['+0 < . 1:1(0) win 5', /^line 7: '\.' goes with an acknowledgment$/],
  ['+0 < . 1:1(1) ack 1 win 5', /^line 7: 1:1 is not 1 bytes$/],
  ['+0 < . 1:1(0) ack 1 win 5 <md5 aa>', /^line 7: unknown TCP option 'md5 aa'$/],
  ['+0 < udp 1', /^line 7: not a packet that is understood: < udp 1$/],
  ['+0 `tc qdisc`', /^line 7: neither a packet, a socket call nor an assertion: `tc qdisc`$/],
  ['+0 < icmp redirect [1:1(0)]', /^line 7: not an ICMP error that is understood/],
  ['+0 %{ print 1 }%', /^line 7: only 'assert NAME OPERATOR NUMBER' is understood: print 1$/],
  ['+0 %{ assert a == 1', /^line 7: does not end/],
  ['--ip_version=ipv6', /^line 7: unknown option: --ip_version=ipv6$/],
  ['--tcp.what=1', /^line 7: unknown option: --tcp\.what=1$/],
];
test('what the language does not know is named with its line, not skipped', () => {
  for (const [rest, message] of mistakes) assert.throws(() => runPacketdrill(`${HANDSHAKE}${rest}\n`), { message }, rest);
});

test('comments, times and results in their forms', () => {
  const { events, toleranceUs, tcp } = parseScript(`/* a comment
over lines */ --tolerance_usecs=10
--tcp.sack=false
--tcp.ecn=active   // another
0.5~+.6 > [ect0] PEW. 1:2(1) ack 1 win 3 urg 4 <...>  # and another
*   > S 0:0(0)
1...+2 write(4, {a, b}, [1, 2],
             100) = -1 EAGAIN (Try again)
`);
  assert.equal(toleranceUs, 10);
  assert.deepEqual(tcp, { sack: false, ecn: 'active' });
  const [packet, any, call] = events;
  assert.deepEqual(packet.at, { us: 500_000, relative: false });
  assert.deepEqual(packet.until, { us: 600_000, relative: true });
  assert.ok(packet.kind === 'out' && packet.flags === 'PEWA' && packet.ecn === 2 && packet.options === 'any');
  assert.equal(any.at, null);
  assert.ok(call.kind === 'call' && call.line === 7);
  assert.deepEqual(call.args, ['4', '{a, b}', '[1, 2]', '100']);
  assert.deepEqual([call.result, call.errno, call.returns], [-1, 'EAGAIN', { us: 2_000_000, relative: true }]);
});
