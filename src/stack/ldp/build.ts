/**
 * The preload library (`native/ldp`): built by the machine's C compiler on first use, kept in the user's cache under the hash of what it
 * was built from. With it a native program uses the host stack unchanged: `LD_PRELOAD=<library> SLUICE_RUNTIME_DIR=<dir> curl ...`.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { constantsHeader } from './constants_header.ts';

const SOURCES = [
  ...['segment.c', 'attach.c', 'worker.c', 'ends.c', 'session_io.c', 'share.c', 'datagram.c'],
  ...['ldp.c', 'ldp_rules.c', 'ldp_fd.c', 'ldp_exec.c', 'ldp_stdio.c', 'ldp_io.c', 'ldp_options.c', 'ldp_wait.c', 'ldp_epoll.c'],
];
const HEADERS = ['vcl.h', 'ldp.h'];
const FLAGS = ['-O2', '-g', '-std=gnu11', '-Wall', '-Wextra', '-Wno-nonnull-compare', '-fPIC', '-shared', '-fvisibility=default'];

/** Path of the library, built now if there is none for these sources. Throws an Error that says what is missing. */
export function ldpLibrary(cacheDir = defaultCacheDir()): string {
  const root = new URL('../../../native/ldp/', import.meta.url).pathname;
  const constants = constantsHeader();
  const hash = createHash('sha256').update(constants).update(FLAGS.join(' ')).update(process.arch);
  for (const file of [...SOURCES, ...HEADERS]) hash.update(readFileSync(join(root, file)));
  const target = join(cacheDir, `libsluice-ldp-${hash.digest('hex').slice(0, 16)}.so`);
  if (existsSync(target)) return target;
  mkdirSync(cacheDir, { recursive: true });
  const directory = mkdtempSync(join(cacheDir, 'build-'));
  try {
    writeFileSync(join(directory, 'constants.h'), constants);
    const output = join(directory, 'ldp.so');
    const compiler = process.env['CC'] ?? 'cc';
    const sources = SOURCES.map((file) => join(root, file));
    const args = [...FLAGS, `-I${directory}`, `-I${root}`, '-o', output, ...sources, '-ldl', '-pthread'];
    const result = spawnSync(compiler, args, { encoding: 'utf8' });
    if (result.error !== undefined) throw new Error(`the preload library needs a C compiler: ${result.error.message}`);
    if (result.status !== 0) throw new Error(`${compiler} could not build the preload library:\n${result.stderr}`);
    if (result.stderr !== '' && process.env['SLUICE_LDP_WARNINGS'] !== undefined) process.stderr.write(result.stderr);
    // Complete or not there: another process may be building it too.
    renameSync(output, target);
    return target;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

function defaultCacheDir(): string {
  return join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'sluice');
}
