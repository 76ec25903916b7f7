/**
 * What a native program sees of its sockets on the host stack is what it sees on the kernel: one program (programs/sockets.py) asks the same
 * questions on both, and must get the same answers.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { LdpStack, missing, noCompiler } from './support.ts';

const PROGRAM = fileURLToPath(new URL('./programs/sockets.py', import.meta.url));
const questions = [...readFileSync(PROGRAM, 'utf8').matchAll(/^def (test_\w+)/gm)].map(([, name]) => name);

describe('sockets of a native program', { skip: noCompiler || missing('python3'), timeout: 280_000 }, () => {
  let ldp: LdpStack;

  before(async () => {
    ldp = await LdpStack.create();
  });

  after(() => ldp.close());

  for (const name of questions) {
    test(name.replace('test_', '').replaceAll('_', ' '), async () => {
      const kernel = await ldp.output('python3', [PROGRAM, name], process.env);
      assert.doesNotMatch(kernel.out, /^!/m, 'the program is wrong');
      const stack = await ldp.output('python3', [PROGRAM, name]);
      assert.equal(stack.out, kernel.out);
      assert.equal(stack.status, 0);
    });
  }
});

const GIVES_UP = `
import socket, time
s = socket.socket(); s.setblocking(False); s.connect_ex(('10.9.0.99', 80)); s.close(); time.sleep(60)`;

test('a connect that is on its way ends when the socket is closed', { skip: noCompiler || missing('python3') }, async () => {
  const device = { kind: 'pipe', name: 'p1', peer: 'p2', addresses: ['10.9.0.1/24'] };
  const other = await LdpStack.create({ network: { devices: [device] } });
  try {
    const program = other.start('python3', ['-c', GIVES_UP]);
    // Until the connect was made, and nothing is left of it.
    for (;;) {
      const { connects, sessions } = JSON.parse((await other.stack.command('show session', { json: true })).text) as {
        connects: number;
        sessions: number;
      };
      if (connects === 1 && sessions === 0) break;
      await new Promise((resolve) => setImmediate(resolve));
    }
    const { connections } = JSON.parse((await other.stack.command('show tcp stats', { json: true })).text) as {
      connections: number;
    };
    assert.equal(connections, 0);
    assert.equal(program.exitCode, null);
  } finally {
    await other.close();
  }
});
