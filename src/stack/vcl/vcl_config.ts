/**
 * The configuration file of VCL (`$VCL_CONFIG`) and VCL's environment, as options of an application:
 *
 *     vcl {
 *       rx-fifo-size 4000000
 *       app-scope-local
 *       namespace-id blue
 *     }
 *
 * What a program says itself comes first, then the environment, then the file. There is no default file. Settings of mechanisms that are not
 * ours (heap, preallocation, segment sizes: the stack sees to memory) are errors that say so, as unknown ones are.
 */
import { readFileSync } from 'node:fs';
import type { AppOptions } from './attach.ts';

/** The message names file and line. */
export class VclConfigError extends Error {
  readonly code = 'EVCLCONFIG';
}

interface Setting {
  /** It has a value. */
  value: boolean;
  set(options: AppOptions, value: string): void;
}

const valued = (set: Setting['set']): Setting => ({ value: true, set });
const flag = (set: (options: AppOptions) => void): Setting => ({ value: false, set });

const SETTINGS: Readonly<Record<string, Setting>> = {
  'rx-fifo-size': valued((options, value) => {
    options.rxFifoSize = bytes(value);
  }),
  'tx-fifo-size': valued((options, value) => {
    options.txFifoSize = bytes(value);
  }),
  'app-scope-local': flag((options) => {
    options.scopeLocal = true;
  }),
  'app-scope-global': flag((options) => {
    options.scopeGlobal = true;
  }),
  'namespace-id': valued((options, value) => {
    options.namespaceId = value;
  }),
  'namespace-secret': valued((options, value) => {
    options.namespaceSecret = value;
  }),
  'app-socket-api': valued(useSocket),
  /** Seconds. */
  'app-timeout': valued((options, value) => {
    if (!/^\d+(\.\d+)?$/.test(value) || Number(value) === 0) throw new Error(`'${value}' is not a number of seconds`);
    options.timeoutMs = Number(value) * 1000;
  }),
  // Always so.
  'use-mq-eventfd': flag(() => {}),
  'multi-thread-workers': flag(() => {}),
};
const STACK_MEMORY = 'the stack sees to memory by itself';
const WITHOUT_COUNTERPART: Readonly<Record<string, string>> = {
  heapsize: STACK_MEMORY,
  'segment-size': STACK_MEMORY,
  'add-segment-size': STACK_MEMORY,
  'preallocated-fifo-pairs': STACK_MEMORY,
  'event-queue-size': STACK_MEMORY,
  huge_page: STACK_MEMORY,
  'max-workers': 'any number of workers may attach',
  'api-socket-name': 'applications attach by app-socket-api',
  'vpp-api-socket': 'applications attach by app-socket-api',
  'session-timeout': 'calls take the time that they need',
  'app-proxy-transport-tcp': 'there is no transparent proxy',
  'app-proxy-transport-udp': 'there is no transparent proxy',
  app_original_dst: 'there is no transparent proxy',
  'tls-engine': 'there is one engine, OpenSSL',
  uid: 'permissions are those of the socket file',
  gid: 'permissions are those of the socket file',
};

/** `options`, and what environment and file say where it says nothing. Throws VclConfigError. */
export function withVclConfig(options: AppOptions, env: NodeJS.ProcessEnv = process.env): AppOptions {
  const file = env['VCL_CONFIG'];
  const merged: AppOptions = file === undefined || file === '' ? {} : readVclConfig(file);
  try {
    if (env['VCL_VPP_SAPI_SOCKET']) useSocket(merged, env['VCL_VPP_SAPI_SOCKET']);
  } catch (error) {
    throw new VclConfigError(`VCL_VPP_SAPI_SOCKET: ${(error as Error).message}`);
  }
  if (env['SLUICE_RUNTIME_DIR'] !== undefined) merged.runtimeDir = env['SLUICE_RUNTIME_DIR'];
  if (env['VCL_APP_NAMESPACE_ID'] !== undefined) merged.namespaceId = env['VCL_APP_NAMESPACE_ID'];
  if (env['VCL_APP_NAMESPACE_SECRET'] !== undefined) merged.namespaceSecret = env['VCL_APP_NAMESPACE_SECRET'];
  if (env['VCL_APP_SCOPE_LOCAL'] !== undefined) merged.scopeLocal = true;
  if (env['VCL_APP_SCOPE_GLOBAL'] !== undefined) merged.scopeGlobal = true;
  // Who names one scope means that one; without a word it is both.
  if (merged.scopeLocal !== undefined || merged.scopeGlobal !== undefined) {
    merged.scopeLocal ??= false;
    merged.scopeGlobal ??= false;
  }
  for (const [name, value] of Object.entries(options)) if (value !== undefined) Object.assign(merged, { [name]: value });
  return merged;
}

/** Throws VclConfigError. */
export function readVclConfig(file: string): AppOptions {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw new VclConfigError(`VCL_CONFIG: ${(error as Error).message}`);
  }
  return parseVclConfig(text, file);
}

/** Throws VclConfigError. */
export function parseVclConfig(text: string, file: string): AppOptions {
  const options: AppOptions = {};
  const words = text
    .split('\n')
    .flatMap((line, i) => (line.replace(/#.*/, '').match(/[{}]|[^\s{}]+/g) ?? []).map((word) => ({ word, line: i + 1 })));
  const fail = (line: number, message: string): never => {
    throw new VclConfigError(`${file}:${line}: ${message}`);
  };
  const expect = (wanted: string): void => {
    const found = words.shift();
    if (found?.word !== wanted) fail(found?.line ?? text.split('\n').length, `'${wanted}' is missing`);
  };
  expect('vcl');
  expect('{');
  while (words.length > 0 && words[0].word !== '}') {
    const { word, line } = words.shift()!;
    const setting = SETTINGS[word];
    if (setting === undefined) {
      const why = WITHOUT_COUNTERPART[word];
      fail(line, why !== undefined ? `'${word}' has no counterpart here: ${why}` : `unknown setting '${word}'`);
      continue;
    }
    const value = setting.value && words[0]?.line === line && words[0].word !== '}' ? words.shift()!.word : '';
    if (setting.value && value === '') fail(line, `'${word}' takes a value`);
    try {
      setting.set(options, value);
    } catch (error) {
      fail(line, `${word}: ${(error as Error).message}`);
    }
  }
  expect('}');
  if (words.length > 0) fail(words[0].line, `unexpected '${words[0].word}'`);
  return options;
}

/** `RUNTIME/app_ns_sockets/NAMESPACE`. */
function useSocket(options: AppOptions, path: string): void {
  const [, runtimeDir, namespaceId] = /^(.+)\/app_ns_sockets\/([^/]+)$/.exec(path) ?? [];
  if (runtimeDir === undefined) throw new Error(`'${path}' is not a socket .../app_ns_sockets/NAMESPACE`);
  options.runtimeDir = runtimeDir;
  options.namespaceId ??= namespaceId;
}

/** `4096`, `0x1000`, `4K`, `4M`, `1G`. */
function bytes(text: string): number {
  const [, number, unit = ''] = /^(0x[\da-f]+|\d+)([kmg]?)$/i.exec(text) ?? [];
  if (number === undefined) throw new Error(`'${text}' is not a size`);
  return Number(number) * 1024 ** ['', 'k', 'm', 'g'].indexOf(unit.toLowerCase());
}
