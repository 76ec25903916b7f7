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
