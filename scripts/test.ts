/**
 * `npm test`: types, lint and format, then every test. `npm test -- PATTERN` runs the test files whose path contains PATTERN.
 * The exit status is 0 only when all of them passed; skipped tests are counted and their reasons printed.
 */
import { spawnSync } from 'node:child_process';
import { globSync } from 'node:fs';
import { run } from 'node:test';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const patterns = process.argv.slice(2);
let failedChecks = 0;

if (patterns.length === 0) {
  step('peers', 'sh', ['scripts/install-peers.sh']);
  step('types', 'npx', ['tsc', '--noEmit']);
  step('lint and format', 'npx', ['biome', 'check', '.']);
}

const files = globSync('test/**/*.test.ts', { cwd: root })
  .filter((file) => patterns.length === 0 || patterns.some((pattern) => file.includes(pattern)))
  .sort()
  .map((file) => `${root}${file}`);
const counts = { passed: 0, failed: 0, skipped: 0 };
const failures: string[] = [];
const skips: string[] = [];
const started = Date.now();

const stream = run({
  files,
  concurrency: 2,
  timeout: 300_000,
  execArgv: ['--disable-warning=ExperimentalWarning', '--disable-warning=SecurityWarning'],
  cwd: root,
});
stream.on('test:fail', (event) => {
  if (event.details.type === 'suite') return;
  counts.failed++;
  const error = event.details.error;
  failures.push(
    `${event.file ?? ''}: ${event.name}\n${String(error.cause instanceof Error ? (error.cause.stack ?? error.cause.message) : (error.cause ?? error))}`,
  );
});
stream.on('test:pass', (event) => {
  if (event.details.type === 'suite') return;
  if (event.skip !== undefined && event.skip !== false) {
    counts.skipped++;
    skips.push(`skipped: ${event.name}: ${event.skip === true || event.skip === '' ? 'NO REASON GIVEN' : event.skip}`);
  } else if (event.details.duration_ms >= 0) counts.passed++;
});
stream.on('test:stderr', (event) => {
  if (process.env['SLUICE_TEST_VERBOSE']) process.stderr.write(event.message);
});
await new Promise<void>((resolve) => {
  stream.on('end', resolve);
  stream.resume();
});

for (const failure of failures) process.stdout.write(`\nFAILED ${failure.replace(root, '')}\n`);
for (const skip of skips) process.stdout.write(`${skip}\n`);
if (skips.some((s) => s.endsWith('NO REASON GIVEN'))) failedChecks++;
process.stdout.write(`${files.length} files, ${Math.round((Date.now() - started) / 1000)} s, ${failedChecks} failed checks\n`);
process.stdout.write(`${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped\n`);
process.exit(counts.failed + failedChecks > 0 || counts.passed === 0 ? 1 : 0);

function step(name: string, command: string, args: string[]): void {
  const result = spawnSync(command, args, { cwd: root, encoding: 'utf8' });
  const ok = result.status === 0;
  process.stdout.write(`${name}: ${ok ? 'ok' : 'FAILED'}\n`);
  if (!ok) {
    failedChecks++;
    process.stdout.write(`${result.stdout}${result.stderr}`);
  } else if (name === 'peers') process.stdout.write(result.stdout);
}
