/** `sluice filter new` and `sluice filter test`: begin a filter in TypeScript, and try one on a request without a configuration. */
import type { RequestListener } from 'node:http';
import { basename, resolve } from 'node:path';
import { parse } from 'yaml';
import { ConfigError } from '../proxy/config/error.ts';
import { ConfigErrors } from '../proxy/config/errors.ts';
import type { FilterTest, TestRequest } from '../proxy/typescript/testing.ts';
import { type Outcome, parseExpectation } from './expect.ts';
import { filterTemplate } from './filter_template.ts';
import { type FlagTable, formatFlags, nearest, parseFlags, UsageError } from './flags.ts';
import { newProject } from './new_project.ts';

export const FILTER_TEST_FLAGS: FlagTable = {
  request: { short: 'r', type: 'string', value: 'METHOD /path', default: 'GET /', help: 'The request' },
  header: { short: 'H', type: 'string', value: 'name: value', multiple: true, help: 'A header of the request' },
  body: { short: 'd', type: 'string', value: 'text', help: 'Its body' },
  config: { type: 'string', value: 'yaml', help: "The filter's configuration, YAML or JSON" },
  upstream: { type: 'string', value: 'status [body]', default: '200 ok', help: 'What the upstream answers' },
  'upstream-header': { type: 'string', value: 'name: value', multiple: true, help: 'A header of its answer' },
  cluster: {
    type: 'string',
    value: 'name=status [body]',
    multiple: true,
    help: 'A cluster for call-outs, and what it answers',
  },
  repeat: { type: 'integer', value: 'n', default: 1, help: 'Send the request so many times; the last answer counts' },
  expect: {
    short: 'e',
    type: 'string',
    value: 'what',
    multiple: true,
    help: 'status=200, header:NAME=VALUE, body~PATTERN, upstream=none ...',
  },
  help: { short: 'h', type: 'boolean', help: 'Print this and end' },
};

export const FILTER_NEW_FLAGS: FlagTable = {
  dir: { type: 'string', value: 'dir', help: 'Where to write it; default: a new directory of its name' },
  help: { short: 'h', type: 'boolean', help: 'Print this and end' },
};

const ACTIONS: Readonly<Record<string, (args: readonly string[]) => Promise<number>>> = {
  new: newFilter,
  test: testCommand,
};

/** Runs `sluice filter ARGS`; the exit status. */
export async function filterCommand(args: readonly string[]): Promise<number> {
  const [name, ...rest] = args;
  if (name === undefined || name === '--help' || name === '-h') {
    process.stdout.write(
      `sluice filter: filters in TypeScript\n\n  new NAME   begin a filter with a test and a configuration\n${indent(formatFlags(FILTER_NEW_FLAGS))}\n\n  test FILE  run a filter on a request\n${indent(formatFlags(FILTER_TEST_FLAGS))}\n`,
    );
    return name === undefined ? 1 : 0;
  }
  const action = ACTIONS[name];
  if (action === undefined) {
    const near = nearest(name, Object.keys(ACTIONS));
    throw new UsageError(`sluice filter has no '${name}'${near === undefined ? '' : `; did you mean '${near}'?`} (new, test)`);
  }
  return action(rest);
}

async function newFilter(args: readonly string[]): Promise<number> {
  const { values, positionals } = parseFlags(args, FILTER_NEW_FLAGS, true);
  const [name] = positionals;
  if (values.help === true || positionals.length !== 1) throw new UsageError('usage: sluice filter new NAME [--dir DIR]');
  const template = { files: filterTemplate(name), packages: ['@types/node'], programs: ['tsc'] };
  const files = newProject(name, values.dir as string | undefined, template);
  process.stdout.write(`${files.join('\n')}\n\nThere, npm test runs its test and npx sluice proxy -c ${name}.yaml the filter.\n`);
  return 0;
}

async function testCommand(args: readonly string[]): Promise<number> {
  const { values, positionals } = parseFlags(args, FILTER_TEST_FLAGS, true);
  if (values.help === true || positionals.length !== 1)
    throw new UsageError('usage: sluice filter test FILE [flags] (see sluice filter --help)');
  const [file] = positionals;
  const text = (name: string): string => values[name] as string;
  const list = (name: string): readonly string[] => (values[name] as string[] | undefined) ?? [];
  const expectations = list('expect').map(parseExpectation);
  const { testFilter } = await import('../proxy/typescript/testing.ts');
  let filter: FilterTest;
  try {
    filter = await testFilter({
      module: resolve(file),
      config: configOf(values['config'] as string | undefined),
      upstream: answering(text('upstream'), '--upstream', headersOf(list('upstream-header'), '--upstream-header')),
      clusters: Object.fromEntries(list('cluster').map(clusterOf)),
    });
  } catch (error) {
    if (error instanceof ConfigErrors) throw new UsageError(error.errors.map(({ reason }) => reason).join('\n'));
    if (error instanceof ConfigError) throw new UsageError(`${basename(file)}: ${shortPath(error.path)}${error.reason}`);
    throw error;
  }
  try {
    const { method, path } = requestLine(text('request'));
    const request: TestRequest = {
      method,
      headers: headersOf(list('header'), '--header'),
      body: values['body'] as string | undefined,
    };
    let response = await filter.request(path, request);
    for (let i = 1; i < (values['repeat'] as number); i++) response = await filter.request(path, request);
    const outcome: Outcome = {
      status: response.status,
      headers: response.headers,
      body: response.text(),
      upstream: filter.received.at(-1) ?? null,
      log: filter.log(),
      metric: (name) => filter.metric(name),
    };
    show(outcome);
    let failed = 0;
    for (const expectation of expectations) {
      const found = expectation.check(outcome);
      if (found !== null) failed++;
      process.stdout.write(found === null ? `ok      ${expectation.text}\n` : `FAILED  ${expectation.text}: found ${found}\n`);
    }
    return failed === 0 ? 0 : 1;
  } finally {
    await filter.close();
  }
}

function show({ status, headers, body, upstream, log }: Outcome): void {
  const lines = [upstream === null ? 'upstream: not asked' : `upstream: ${upstream.method} ${upstream.path}`];
  for (const [name, value] of Object.entries(upstream?.headers ?? {})) lines.push(`  ${name}: ${String(value)}`);
  lines.push(`response: ${status}`);
  for (const [name, value] of Object.entries(headers)) lines.push(`  ${name}: ${String(value)}`);
  if (body !== '') lines.push('', body.trimEnd(), '');
  if (log !== '')
    lines.push(
      'log:',
      ...log
        .trimEnd()
        .split('\n')
        .map((line) => `  ${line}`),
    );
  process.stdout.write(`${lines.join('\n')}\n`);
}

function requestLine(text: string): { method: string; path: string } {
  const match = /^(?:([A-Z]+) )?(\/\S*)$/.exec(text);
  if (match === null) throw new UsageError(`--request: '${text}' is not of the form 'GET /path'`);
  return { method: match[1] ?? 'GET', path: match[2] };
}

function headersOf(lines: readonly string[], flag: string): Record<string, string[]> {
  const headers: Record<string, string[]> = {};
  for (const line of lines) {
    const match = /^([^:\s]+):\s*(.*)$/.exec(line);
    if (match === null) throw new UsageError(`${flag}: '${line}' is not of the form 'name: value'`);
    (headers[match[1].toLowerCase()] ??= []).push(match[2]);
  }
  return headers;
}

function answering(text: string, flag: string, headers: Record<string, string[]> = {}): RequestListener {
  const match = /^([1-5]\d\d)(?: (.*))?$/s.exec(text);
  if (match === null) throw new UsageError(`${flag}: '${text}' is not of the form '200 body'`);
  return (request, response) => {
    request.resume();
    request.on('end', () => response.writeHead(Number(match[1]), headers).end(match[2] ?? ''));
  };
}

function clusterOf(text: string): [string, RequestListener] {
  const at = text.indexOf('=');
  if (at <= 0) throw new UsageError(`--cluster: '${text}' is not of the form 'name=200 body'`);
  return [text.slice(0, at), answering(text.slice(at + 1), '--cluster')];
}

function configOf(text: string | undefined): Record<string, unknown> {
  if (text === undefined) return {};
  let value: unknown;
  try {
    value = parse(text);
  } catch (error) {
    throw new UsageError(`--config: ${(error as Error).message}`);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new UsageError(`--config: '${text}' is not an object`);
  return value as Record<string, unknown>;
}

/** What is left of a path in the made-up bootstrap that means something to the user. */
function shortPath(path: string): string {
  const field = path.split('typed_config.').at(-1) ?? '';
  return field === path ? '' : `${field}: `;
}

function indent(text: string): string {
  return text.replace(/^/gm, '    ');
}
