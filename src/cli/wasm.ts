/** `sluice wasm inspect`, `test` and `new`: look at a Proxy-Wasm module, try it on a request, begin one. */
import { readFileSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { inspectModule } from '../wasm/binary/inspect.ts';
import { ModuleError } from '../wasm/binary/module_reader.ts';
import { WasmError } from '../wasm/host/wasm.ts';
import { loadPlugin, type TestPlugin } from '../wasm/testing/module_test.ts';
import type { TestStream } from '../wasm/testing/test_stream.ts';
import { type Outcome, parseExpectation } from './expect.ts';
import { type FlagTable, formatFlags, nearest, parseFlags, UsageError } from './flags.ts';
import { newProject } from './new_project.ts';
import { wasmTemplate } from './wasm_template.ts';

export const WASM_TEST_FLAGS: FlagTable = {
  request: { short: 'r', type: 'string', value: 'METHOD /path', default: 'GET /', help: 'The request' },
  header: { short: 'H', type: 'string', value: 'name: value', multiple: true, help: 'A header of the request' },
  body: { short: 'd', type: 'string', value: 'text', help: 'Its body' },
  'root-id': { type: 'string', value: 'id', default: '', help: "The plugin's root_id" },
  config: { type: 'string', value: 'text', default: '', help: "The plugin's configuration" },
  'vm-config': { type: 'string', value: 'text', default: '', help: "The VM's configuration" },
  upstream: { type: 'string', value: 'status [body]', default: '200 ok', help: 'What the upstream answers' },
  'upstream-header': { type: 'string', value: 'name: value', multiple: true, help: 'A header of its answer' },
  cluster: { type: 'string', value: 'name=status [body]', multiple: true, help: 'A cluster for call-outs, and what it answers' },
  repeat: { type: 'integer', value: 'n', default: 1, help: 'Send the request so many times; the last answer counts' },
  'time-limit': { type: 'integer', value: 'ms', default: 10_000, help: 'A module that does not return by then is ended' },
  expect: {
    short: 'e',
    type: 'string',
    value: 'what',
    multiple: true,
    help: 'status=200, header:NAME=VALUE, body~PATTERN, upstream=none ...',
  },
  help: { short: 'h', type: 'boolean', help: 'Print this and end' },
};

export const WASM_NEW_FLAGS: FlagTable = {
  dir: { type: 'string', value: 'dir', help: 'Where to write it; default: a new directory of its name' },
  help: { short: 'h', type: 'boolean', help: 'Print this and end' },
};

export const WASM_INSPECT_FLAGS: FlagTable = {
  json: { type: 'boolean', help: 'As JSON' },
  help: { short: 'h', type: 'boolean', help: 'Print this and end' },
};

const ACTIONS: Readonly<Record<string, (args: readonly string[]) => number>> = {
  inspect: inspectCommand,
  test: testCommand,
  new: newCommand,
};

/** Runs `sluice wasm ARGS`; the exit status. */
export async function wasmCommand(args: readonly string[]): Promise<number> {
  const [name, ...rest] = args;
  if (name === undefined || name === '--help' || name === '-h') {
    const indented = (table: FlagTable): string => formatFlags(table).replace(/^/gm, '    ');
    process.stdout.write(
      `sluice wasm: Proxy-Wasm modules\n\n  inspect FILE  what a module is, wants, and what will not work\n${indented(WASM_INSPECT_FLAGS)}\n\n  test FILE     run a module on a request\n${indented(WASM_TEST_FLAGS)}\n\n  new NAME      begin a module in AssemblyScript with a test and a configuration\n${indented(WASM_NEW_FLAGS)}\n`,
    );
    return name === undefined ? 1 : 0;
  }
  const action = ACTIONS[name];
  if (action === undefined) {
    const near = nearest(name, Object.keys(ACTIONS));
    throw new UsageError(
      `sluice wasm has no '${name}'${near === undefined ? '' : `; did you mean '${near}'?`} (inspect, test, new)`,
    );
  }
  return action(rest);
}

function fileOf(args: readonly string[], flags: FlagTable, usage: string): { file: string; values: Record<string, unknown> } {
  const { values, positionals } = parseFlags(args, flags, true);
  if (values['help'] === true || positionals.length !== 1) throw new UsageError(`usage: ${usage} (see sluice wasm --help)`);
  return { file: positionals[0], values };
}

function readModuleFile(file: string): Uint8Array {
  try {
    return readFileSync(file);
  } catch (error) {
    throw new UsageError(`cannot read ${file}: ${(error as Error).message}`);
  }
}

/** The exit status is 1 when the module will not load. */
function inspectCommand(args: readonly string[]): number {
  const { file, values } = fileOf(args, WASM_INSPECT_FLAGS, 'sluice wasm inspect FILE');
  const bytes = readModuleFile(file);
  const found = orUsageError(file, () => inspectModule(bytes));
  if (values['json'] === true) {
    process.stdout.write(`${JSON.stringify(found, null, 1)}\n`);
    return found.problems.length === 0 ? 0 : 1;
  }
  const { memory } = found;
  const kib = (size: number): string => `${Math.ceil(size / 1024)} KiB`;
  const list = (title: string, items: readonly string[]): string[] =>
    items.length === 0 ? [] : [`${title}:`, ...items.map((item) => `  ${item}`)];
  const lines = [
    `ABI:        ${found.abiVersion === '' ? 'none' : found.abiVersion}`,
    `size:       ${kib(found.sizeBytes)}, ${found.functions} functions, ${found.namedFunctions === 0 ? 'without names: errors will show numbers' : `${found.namedFunctions} names`}`,
    `memory:     ${memory === null ? 'none' : `${kib(memory.minimumBytes)}, ${memory.maximumBytes === null ? 'no limit of its own' : `at most ${kib(memory.maximumBytes)}`}`}`,
    `starts by:  ${found.starts.length === 0 ? 'nothing' : found.starts.join(', ')}`,
    `allocator:  ${found.allocator ?? 'none'}`,
    ...list('callbacks', found.callbacks),
    ...list(
      'imports',
      found.imports.map(({ name, signature }) => `${name}: ${signature}`),
    ),
    ...list('other exports', found.otherExports),
    ...list('notes', found.notes),
    ...(found.problems.length === 0 ? ['it should load'] : list('IT WILL NOT LOAD', found.problems)),
  ];
  process.stdout.write(`${lines.join('\n')}\n`);
  return found.problems.length === 0 ? 0 : 1;
}

function testCommand(args: readonly string[]): number {
  const { file, values } = fileOf(args, WASM_TEST_FLAGS, 'sluice wasm test FILE [flags]');
  const text = (name: string): string => values[name] as string;
  const list = (name: string): readonly string[] => (values[name] as string[] | undefined) ?? [];
  const expectations = list('expect').map(parseExpectation);
  const { method, path } = requestLine(text('request'));
  const answer = answerOf(text('upstream'), '--upstream');
  const clusters = new Map(list('cluster').map(clusterOf));
  const bytes = readModuleFile(file);
  const stopWatch = limitTime(values['time-limit'] as number, file);
  const plugin = orUsageError(file, () =>
    loadPlugin(bytes, {
      rootId: text('root-id'),
      configuration: text('config'),
      vmConfiguration: text('vm-config'),
      clusters: [...clusters.keys()],
      logLevel: 'debug',
    }),
  );
  let stream: TestStream | null = null;
  for (let i = 0; i < (values['repeat'] as number); i++) {
    stream = plugin.exchange({
      method,
      path,
      headers: pairsOf(list('header'), '--header'),
      body: values['body'] as string | undefined,
      response: {
        status: answer.status,
        headers: pairsOf(list('upstream-header'), '--upstream-header'),
        body: answer.body === '' ? undefined : answer.body,
      },
    });
    answerCalls(plugin, clusters);
  }
  stopWatch();
  if (stream === null) throw new UsageError('--repeat: at least 1');
  const outcome = outcomeOf(plugin, stream);
  show(outcome, stream);
  let failed = stream.over ? 0 : 1;
  for (const expectation of expectations) {
    const found = expectation.check(outcome);
    if (found !== null) failed++;
    process.stdout.write(found === null ? `ok      ${expectation.text}\n` : `FAILED  ${expectation.text}: found ${found}\n`);
  }
  return failed === 0 ? 0 : 1;
}

function answerCalls(plugin: TestPlugin, clusters: ReadonlyMap<string, { status: number; body: string }>): void {
  // Answers may lead to further calls.
  for (let i = 0; i < 100 && plugin.environment.httpCalls.size > 0; i++) {
    for (const call of [...plugin.environment.httpCalls]) {
      const answer = clusters.get(call.request.cluster);
      if (answer === undefined) call.fail();
      else call.respond(answer.status, [], answer.body);
    }
    plugin.environment.runPosted();
  }
}

function outcomeOf(plugin: TestPlugin, { client, upstream }: TestStream): Outcome {
  const headers = (from: typeof client): Record<string, string | undefined> =>
    Object.fromEntries((from.headers ?? []).filter(([name]) => !name.startsWith(':')).map(([name]) => [name, from.header(name)]));
  return {
    status: client.status,
    headers: headers(client),
    body: client.text,
    upstream:
      upstream.headers === null
        ? null
        : { method: upstream.header(':method') ?? '', path: upstream.header(':path') ?? '', headers: headers(upstream) },
    log: plugin.environment.logText,
    metric: (name) =>
      plugin.environment.store.counterValue(`wasmcustom.${name}`) || plugin.environment.store.gaugeValue(`wasmcustom.${name}`),
  };
}

function show({ status, headers, body, upstream, log }: Outcome, stream: TestStream): void {
  const lines = [upstream === null ? 'upstream: not asked' : `upstream: ${upstream.method} ${upstream.path}`];
  for (const [name, value] of Object.entries(upstream?.headers ?? {})) lines.push(`  ${name}: ${String(value)}`);
  if (stream.upstream.text !== '') lines.push('', stream.upstream.text.trimEnd(), '');
  lines.push(
    stream.over
      ? `response: ${status}${stream.details === '' ? '' : ` (${stream.details})`}`
      : 'the stream is paused and nothing resumes it',
  );
  for (const [name, value] of Object.entries(headers)) lines.push(`  ${name}: ${String(value)}`);
  if (body !== '') lines.push('', body.trimEnd(), '');
  if (log !== '') lines.push('log:', ...log.split('\n').map((line) => `  ${line}`));
  process.stdout.write(`${lines.join('\n')}\n`);
}

/** A module that never returns holds this thread: another one ends the process. */
function limitTime(ms: number, file: string): () => void {
  const flag = new Int32Array(new SharedArrayBuffer(4));
  const code = `const { workerData: [flag, ms, text] } = require('node:worker_threads');
    if (Atomics.wait(flag, 0, 0, ms) === 'timed-out') { require('node:fs').writeSync(2, text); process.kill(process.pid, 'SIGTERM'); }`;
  const worker = new Worker(code, { eval: true, workerData: [flag, ms, `sluice: ${file} did not return within ${ms} ms\n`] });
  worker.unref();
  return () => {
    Atomics.store(flag, 0, 1);
    Atomics.notify(flag, 0);
  };
}

function orUsageError<T>(file: string, run: () => T): T {
  try {
    return run();
  } catch (error) {
    if (error instanceof ModuleError) throw new UsageError(`${file}: ${error.message}`);
    if (error instanceof WasmError) throw new UsageError(`${file}: ${error.failState}: ${error.message}`);
    throw error;
  }
}

function newCommand(args: readonly string[]): number {
  const { values, positionals } = parseFlags(args, WASM_NEW_FLAGS, true);
  const [name] = positionals;
  if (values['help'] === true || positionals.length !== 1) throw new UsageError('usage: sluice wasm new NAME [--dir DIR]');
  const template = {
    files: wasmTemplate(name),
    packages: ['assemblyscript', '@solo-io/proxy-runtime'],
    programs: ['asc'],
  };
  const files = newProject(name, values['dir'] as string | undefined, template);
  process.stdout.write(`${files.join('\n')}\n\nThere, npm run build && npm test, then npx sluice proxy -c ${name}.yaml\n`);
  return 0;
}

function requestLine(text: string): { method: string; path: string } {
  const match = /^(?:([A-Z]+) )?(\/\S*)$/.exec(text);
  if (match === null) throw new UsageError(`--request: '${text}' is not of the form 'GET /path'`);
  return { method: match[1] ?? 'GET', path: match[2] };
}

function pairsOf(lines: readonly string[], flag: string): [string, string][] {
  return lines.map((line) => {
    const match = /^([^:\s]+):\s*(.*)$/.exec(line);
    if (match === null) throw new UsageError(`${flag}: '${line}' is not of the form 'name: value'`);
    return [match[1].toLowerCase(), match[2]];
  });
}

function answerOf(text: string, flag: string): { status: number; body: string } {
  const match = /^([1-5]\d\d)(?: (.*))?$/s.exec(text);
  if (match === null) throw new UsageError(`${flag}: '${text}' is not of the form '200 body'`);
  return { status: Number(match[1]), body: match[2] ?? '' };
}

function clusterOf(text: string): [string, { status: number; body: string }] {
  const at = text.indexOf('=');
  if (at <= 0) throw new UsageError(`--cluster: '${text}' is not of the form 'name=200 body'`);
  return [text.slice(0, at), answerOf(text.slice(at + 1), '--cluster')];
}
