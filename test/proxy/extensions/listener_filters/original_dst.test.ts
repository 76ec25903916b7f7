import assert from 'node:assert/strict';
import { test } from 'node:test';
import { originalDestination } from '../../../../src/proxy/extensions/listener_filters/original_dst/config.ts';
import { ipAddress, pipeAddress } from '../../../../src/proxy/network/address.ts';
import { AcceptedSocket } from '../../../../src/proxy/network/server_connection.ts';
import { fakeHandle } from './support.ts';

test('original_dst: reads sockaddr_in and sockaddr_in6', () => {
  const v4 = {
    ...fakeHandle(),
    getOptionBytes: (level: number, name: number) =>
      level === 0 && name === 80 ? Buffer.from('020001bbc6336401'.padEnd(32, '0'), 'hex') : null,
  };
  assert.equal(originalDestination(new AcceptedSocket(v4))?.asString, '198.51.100.1:443');
  const raw = Buffer.from(`0a0001bb00000000${'20010db8'.padEnd(30, '0')}0900000000`, 'hex');
  const v6 = { ...fakeHandle(ipAddress('::1', 10)), getOptionBytes: (level: number) => (level === 41 ? raw : null) };
  assert.equal(originalDestination(new AcceptedSocket(v6))?.asString, '[2001:db8::9]:443');
});

test('original_dst: TPROXY sockets are bound to it, others keep their address', () => {
  const transparent = { ...fakeHandle(), getOption: (level: number, name: number) => (level === 0 && name === 19 ? 1 : 0) };
  assert.equal(originalDestination(new AcceptedSocket(transparent))?.asString, '127.0.0.1:10000');
  assert.equal(originalDestination(new AcceptedSocket(fakeHandle())), null);
  assert.equal(originalDestination(new AcceptedSocket(fakeHandle(pipeAddress('/x')))), null);
});
