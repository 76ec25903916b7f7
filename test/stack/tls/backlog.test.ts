/** An application of the host stack that accepts late: TLS connections from the kernel beyond its backlog wait, and none is reset. */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { after, before, test } from 'node:test';
import { createHostStack, type EmbeddedHostStack, vcl } from '../../../src/stack/index.ts';
import { CertificateFactory } from '../../support/certificates.ts';
import { cannotMakeNamespace } from '../link/namespace.ts';

const reason = cannotMakeNamespace();
const skip = reason === null ? false : reason;
const space = `slt-tlslog-${process.pid}`;
const certificate = new CertificateFactory().make('localhost', { san: 'DNS:localhost' });
const CLIENTS = 9;
const BACKLOG = 2;

/** Each writes, and says whether the same comes back. */
const PROGRAM = `
import os, socket, ssl, threading
context = ssl._create_unverified_context()
def client(i):
    try:
        s = context.wrap_socket(socket.create_connection(('10.79.0.2', 443), timeout=50))
        data, got = os.urandom(20000 + i), b''
        s.sendall(data)
        while len(got) < len(data) and (piece := s.recv(65536)): got += piece
        os.write(1, b'same\\n' if got == data else b'different\\n')
    except OSError as error:
        os.write(1, b'%s\\n' % str(error).encode())
all = [threading.Thread(target=client, args=(i,)) for i in range(${CLIENTS})]
for t in all: t.start()
for t in all: t.join()
`;

let stack: EmbeddedHostStack;

before(async () => {
  if (reason !== null) return;
  execFileSync('ip', ['netns', 'add', space]);
  const device = { kind: 'tun', name: 'slc%d', addresses: ['10.79.0.2/24'], hostAddresses: ['10.79.0.1/24'], netns: space };
  stack = await createHostStack({ network: { devices: [device] } });
  vcl.appCreate('late', { runtimeDir: stack.runtimeDir });
});

after(async () => {
  if (reason !== null) return;
  vcl.appDestroy();
  await stack.close();
  execFileSync('ip', ['netns', 'del', space]);
});

async function held(): Promise<number> {
  const stats = async (what: string): Promise<Record<string, number>> =>
    JSON.parse((await stack.command(`show ${what} stats`, { json: true })).text);
  const tcp = await stats('tcp');
  return (await stats('tls'))['handshakesAccepted'] < BACKLOG ? 0 : (tcp['listenOverflows'] ?? 0) + (tcp['listenDrops'] ?? 0);
}

test('connections beyond the backlog wait for it, with what they have sent', { skip, timeout: 60_000 }, async (t) => {
  const listener = vcl.sessionCreate(vcl.TransportProto.tls);
  const config = vcl.tlsConfig({ cert: certificate.certificate, key: certificate.key }, true);
  assert.equal(vcl.sessionTls(listener, config), 0);
  assert.equal(vcl.sessionBind(listener, { ip: '10.79.0.2', port: 443 }), 0);
  assert.equal(vcl.sessionListen(listener, BACKLOG), 0);
  const program = spawn('ip', ['netns', 'exec', space, 'python3', '-c', PROGRAM], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.after(() => program.kill('SIGKILL'));
  let said = '';
  program.stdout.on('data', (part: Buffer) => {
    said += part.toString();
  });
  const ended = once(program, 'close');
  // Whatever is beyond the backlog, of handshakes and of acceptances, is noticed while nobody accepts.
  while (said === '' && (await held()) < CLIENTS - BACKLOG) await new Promise((resolve) => setImmediate(resolve));
  assert.equal(said, '');
  const buffer = new Uint8Array(50_000);
  for (let i = 0; i < CLIENTS; i++) {
    const sh = vcl.sessionAccept(listener);
    assert.ok(sh >= 0);
    // Until the client has it all, and leaves without close_notify.
    for (let n = vcl.sessionRead(sh, buffer); n > 0; n = vcl.sessionRead(sh, buffer)) {
      assert.equal(vcl.sessionWrite(sh, buffer, 0, n), n);
    }
    assert.equal(vcl.sessionClose(sh), 0);
  }
  await ended;
  assert.equal(said, 'same\n'.repeat(CLIENTS));
  vcl.sessionClose(listener);
});
