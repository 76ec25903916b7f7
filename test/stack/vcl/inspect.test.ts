/** What VCL's calls say of sessions, listeners, protocols and results. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { createHostStack, type EmbeddedHostStack, vcl } from '../../../src/stack/index.ts';

let stack: EmbeddedHostStack;

before(async () => {
  stack = await createHostStack();
  vcl.appCreate('inspect', { runtimeDir: stack.runtimeDir });
});

after(async () => {
  vcl.appDestroy();
  await stack.close();
});

const BADF = -9;
const INVAL = -22;
const ECONNRESET = 104;
const EOPNOTSUPP = 95;
const UDP = 1;

test('a listener knows its sessions, and they know it, until either is closed', () => {
  const listener = vcl.sessionCreate();
  assert.equal(vcl.sessionIsConnectableListener(listener), false);
  assert.equal(vcl.sessionBind(listener, { ip: '127.0.0.1', port: 0 }), 0);
  assert.equal(vcl.sessionListen(listener), 0);
  assert.equal(vcl.sessionIsConnectableListener(listener), true);
  const to = vcl.sessionLocalAddress(listener)!;
  const pairs = [0, 1].map(() => {
    const a = vcl.sessionCreate();
    assert.equal(vcl.sessionConnect(a, to), 0);
    return [a, vcl.sessionAccept(listener)] as const;
  });
  assert.equal(vcl.sessionNAccepted(listener), 2);
  const [[a, b], [c, d]] = pairs;
  assert.equal(vcl.sessionListener(b), listener);
  assert.equal(vcl.sessionListener(a), INVAL);
  assert.equal(vcl.sessionIsStream(b), true);
  assert.equal(vcl.sessionWorker(b), vcl.workerIndex());
  assert.equal(vcl.sessionIndex(b), b);
  assert.equal(vcl.sessionAttr(b, 'domain'), 2);
  assert.equal(vcl.sessionAttr(b, 'cookie', 77), 0);
  assert.equal(vcl.sessionAttr(b, 'cookie'), 77);
  // What no session does is refused, and not kept as if it did.
  for (const name of ['vrf', 'broadcast'] as const) {
    assert.equal(vcl.sessionAttr(b, name, 1), -EOPNOTSUPP);
    assert.equal(vcl.sessionAttr(b, name, 0), 0);
    assert.equal(vcl.sessionAttr(b, name), 0);
  }
  const datagrams = vcl.sessionCreate(UDP);
  assert.equal(vcl.sessionAttr(datagrams, 'tcpNodelay', 1), -EOPNOTSUPP);
  assert.equal(vcl.sessionAttr(datagrams, 'dscp', 1), -EOPNOTSUPP);
  vcl.sessionClose(datagrams);
  // The peer of what is terminated sees a reset.
  assert.equal(vcl.sessionTerminate(b), 0);
  assert.equal(vcl.sessionRead(a, new Uint8Array(1)), -ECONNRESET);
  assert.equal(vcl.sessionGetError(a), ECONNRESET);
  assert.equal(vcl.sessionGetError(d), 0);
  assert.equal(vcl.sessionNAccepted(listener), 1);
  vcl.sessionClose(listener);
  assert.equal(vcl.sessionListener(d), INVAL);
  for (const sh of [a, c, d]) vcl.sessionClose(sh);
  for (const call of [
    vcl.sessionIndex,
    vcl.sessionWorker,
    vcl.sessionListener,
    vcl.sessionNAccepted,
    vcl.sessionGetError,
    vcl.sessionTerminate,
  ])
    assert.equal(call(a), BADF);
  assert.equal(vcl.sessionIsStream(a), false);
});

test('a bound datagram session is no listener to connect to, nor a stream', () => {
  const sh = vcl.sessionCreate(vcl.TransportProto.udp, true);
  assert.equal(vcl.sessionBind(sh, { ip: '127.0.0.1', port: 0 }), 0);
  assert.ok(vcl.sessionRecvfrom(sh, new Uint8Array(1), { ip: '', port: 0 }) < 0);
  assert.equal(vcl.sessionIsConnectableListener(sh), false);
  assert.equal(vcl.sessionIsStream(sh), false);
  vcl.sessionClose(sh);
});

test('names of protocols and results', () => {
  assert.equal(vcl.unformatProto('UDP'), vcl.TransportProto.udp);
  assert.equal(vcl.unformatProto('ipx'), INVAL);
  assert.equal(vcl.protoStr(0), 'tcp');
  assert.equal(vcl.retvalStr(5), 'ok');
  assert.equal(vcl.retvalStr(-11), 'EAGAIN: resource temporarily unavailable');
  assert.equal(vcl.retvalStr(-5000), 'error 5000');
});
