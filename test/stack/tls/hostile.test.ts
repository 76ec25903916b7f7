/** Applications that say nonsense about TLS: the stack refuses the session and goes on. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { createDoorbell } from '../../../src/core/sys/doorbell.ts';
import { E } from '../../../src/core/sys/libc.ts';
import { createSealedMemfd } from '../../../src/core/sys/memfd.ts';
import { closeDescriptor, sendPacket } from '../../../src/core/sys/unix_socket.ts';
import { HostStack } from '../../../src/stack/host_stack.ts';
import { attach, type VclNet } from '../../../src/stack/index.ts';
import type { CryptoConfig } from '../../../src/stack/session/crypto_config.ts';
import { TransportProto } from '../../../src/stack/session/transport.ts';
import { type VclSession, VclState } from '../../../src/stack/vcl/session.ts';
import { cryptoConfigOf } from '../../../src/stack/vcl/tls_options.ts';
import { CertificateFactory } from '../../support/certificates.ts';

const certificate = new CertificateFactory().make('localhost', { san: 'DNS:localhost' });
const good = cryptoConfigOf({ cert: certificate.certificate, key: certificate.key }, true);
let directory = '';
let stack: HostStack;
let app: VclNet;

before(async () => {
  directory = mkdtempSync(join(tmpdir(), 'sluice-tls-'));
  stack = new HostStack({ runtimeDir: directory });
  app = await attach({ name: 'hostile', runtimeDir: directory });
});

after(() => {
  app.close();
  stack.close();
  rmSync(directory, { recursive: true });
});

/** The errno that listening with this configuration ends with; 0 when it listens. */
async function listen(config: CryptoConfig): Promise<number> {
  const session = app.worker.createSession(TransportProto.tls);
  session.crypto = config;
  session.local.set('127.0.0.1', 0);
  const answered = Promise.withResolvers<VclSession>();
  session.observer = { onSessionEvent: (s) => answered.resolve(s) };
  const result = app.worker.listen(session, 10);
  if (result < 0) return -result;
  await answered.promise;
  const { error } = session;
  const listens = session.state === VclState.listening;
  app.worker.close(session);
  return listens ? 0 : error;
}

test('configurations that no honest application sends', async () => {
  assert.equal(await listen(good), 0);
  const bad: Partial<Record<keyof CryptoConfig, unknown>>[] = [
    { certificates: [] },
    { certificates: [{ cert: 'x', key: 'y', password: null }] },
    { certificates: [{ ...good.certificates[0], key: 'y' }] },
    { certificates: [null] },
    { certificates: { length: 1e9 } },
    { alpn: [''] },
    { alpn: new Array(300).fill('a') },
    { alpn: 7 },
    { minVersion: 'SSLv3' },
    { minVersion: 'TLSv1_3', maxVersion: 'TLSv1_2' },
    { cipherSuites: ['NONE'] },
    { curves: ['NONE'] },
    { verify: true, ca: 'x' },
    { crl: 'x', ca: certificate.certificate, verify: true },
    { details: undefined },
    { __proto__: null, verify: 'yes' } as never,
  ];
  for (const change of bad) {
    assert.equal(await listen({ ...good, ...change } as CryptoConfig), E.INVAL, JSON.stringify(change));
  }
  assert.equal(await listen(good), 0);
});

test('descriptors that are none, too short, or no memory; a name without end', async () => {
  const { socket } = (app.worker as unknown as { attachment: { socket: number } }).attachment;
  const send = (message: object, fds: number[] = []): void => {
    assert.equal(sendPacket(socket, Buffer.from(JSON.stringify(message)), fds), null);
    for (const fd of fds) closeDescriptor(fd);
  };
  const { ringFd, hearFd } = createDoorbell();
  send({ type: 'cryptoConfig', id: 1_000_000, bytes: 10 });
  send({ type: 'cryptoConfig', id: 1_000_000, bytes: 10 }, [hearFd]);
  send({ type: 'cryptoConfig', id: 1_000_000, bytes: 10 }, [ringFd]);
  send({ type: 'cryptoConfig', id: 1_000_000, bytes: 5000 }, [createSealedMemfd('short', 4096)]);
  send({ type: 'cryptoConfig', id: 1_000_000, bytes: 4096 }, [createSealedMemfd('zeros', 4096)]);
  for (const bytes of [-1, 0.5, 1e300, 2 ** 40]) send({ type: 'cryptoConfig', id: 1, bytes }, [createSealedMemfd('x', 4096)]);
  send({ type: 'dropCryptoConfig', id: -5 });
  for (let i = 0; i < 9; i++) send({ type: 'serverName', id: i, name: 'n'.repeat(10_000) });
  assert.equal(await listen({ ...good }), 0);
});

test('no more configurations than the limit: the next is refused, the others stay', async () => {
  let refused = 0;
  const kept: CryptoConfig[] = [];
  for (let i = 0; i < 1100 && refused === 0; i++) {
    const config = { ...good };
    kept.push(config);
    refused = await listen(config);
  }
  assert.equal(refused, E.INVAL);
  assert.equal(await listen(kept[0]), 0);
});
