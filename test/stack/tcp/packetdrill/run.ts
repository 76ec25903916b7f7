/** `node test/stack/tcp/packetdrill/run.ts [--lax] FILE.pkt...`: runs packetdrill scripts against our stack; exit status 1 when one fails. */
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { runPacketdrill } from './runner.ts';

const { values, positionals } = parseArgs({ allowPositionals: true, options: { lax: { type: 'boolean', default: false } } });
for (const file of positionals) {
  try {
    runPacketdrill(readFileSync(file, 'utf8'), values);
    process.stdout.write(`${file}: OK\n`);
  } catch (error) {
    process.stdout.write(`${file}: ${(error as Error).message}\n`);
    process.exitCode = 1;
  }
}
