/**
 * The test API for plugin authors (`sluice/wasm`): loads a module as the proxy does and lets a test drive it.
 *
 *     const plugin = await loadPlugin('plugin.wasm', { configuration: '{"deny": true}' });
 *     const { client } = plugin.exchange({ method: 'GET', path: '/admin' });
 *     assert.equal(client.status, 403);
 */
import { readFileSync } from 'node:fs';
import { RootContext } from '../host/root_context.ts';
import { Wasm } from '../host/wasm.ts';
import { compileCode } from '../vm/compiled_code.ts';
import { V8Vm } from '../vm/v8/v8_vm.ts';
import type { WasmVm } from '../vm/vm.ts';
import { TestEnvironment, type TestEnvironmentOptions } from './test_environment.ts';
import { type HeaderList, type Received, type TestMessage, TestStream } from './test_stream.ts';

export interface PluginOptions extends TestEnvironmentOptions {
  readonly name?: string;
  readonly rootId?: string;
  readonly configuration?: Uint8Array | string;
  readonly vmId?: string;
  readonly vmConfiguration?: Uint8Array | string;
  readonly environmentVariables?: Readonly<Record<string, string>>;
  readonly allowedCapabilities?: readonly string[];
  readonly allowOnHeadersStopIteration?: boolean;
}

export interface ExchangeOptions {
  readonly method?: string;
  readonly path?: string;
  readonly authority?: string;
  readonly headers?: HeaderList;
  readonly body?: string | Uint8Array | readonly (string | Uint8Array)[];
  readonly trailers?: HeaderList;
  /** What the upstream answers; default: 200 without a body. */
  readonly response?: ResponseOptions | ((request: Received) => ResponseOptions);
}

export interface ResponseOptions {
  readonly status?: number;
  readonly headers?: HeaderList;
  readonly body?: string | Uint8Array | readonly (string | Uint8Array)[];
  readonly trailers?: HeaderList;
}

/** A plugin that was started and configured. */
export class TestPlugin {
  readonly environment: TestEnvironment;
  readonly wasm: Wasm;
  readonly root: RootContext;

  /** Throws WasmError when it does not start or refuses its configuration. */
  constructor(vm: WasmVm, options: PluginOptions = {}, environment: TestEnvironment = new TestEnvironment(options)) {
    this.environment = environment;
    this.wasm = new Wasm(vm, environment, {
      vmId: options.vmId ?? '',
      vmConfiguration: bytesOf(options.vmConfiguration),
      environmentVariables: Object.entries(options.environmentVariables ?? {}),
      allowedCapabilities: options.allowedCapabilities === undefined ? null : new Set(options.allowedCapabilities),
    });
    this.wasm.start();
    this.root = this.addPlugin(options);
  }

  /** Another plugin in the same VM. */
  addPlugin(options: PluginOptions): RootContext {
    const root = new RootContext(this.wasm, {
      name: options.name ?? '',
      rootId: options.rootId ?? '',
      configuration: bytesOf(options.configuration),
      allowOnHeadersStopIteration: options.allowOnHeadersStopIteration === true,
    });
    root.start();
    return root;
  }

  /** Sends a request through; the stream may be paused when the module waits for something (`environment.httpCalls` ...). */
  exchange(options: ExchangeOptions = {}): TestStream {
    const { method = 'GET', path = '/', authority = 'example.com', headers = [], response = {} } = options;
    const own: [string, string][] = [
      [':method', method],
      [':path', path],
      [':authority', authority],
      [':scheme', 'http'],
    ];
    return new TestStream(this.root, this.environment, {
      request: { headers: [...own, ...headers], body: chunksOf(options.body), trailers: options.trailers },
      respond: (request) => messageOf(typeof response === 'function' ? response(request) : response),
    });
  }
}

function messageOf({ status = 200, headers = [], body, trailers }: ResponseOptions): TestMessage {
  return { headers: [[':status', String(status)], ...headers], body: chunksOf(body), trailers };
}

function chunksOf(body: ExchangeOptions['body']): (string | Uint8Array)[] {
  if (body === undefined) return [];
  return typeof body === 'string' || body instanceof Uint8Array ? [body] : [...body];
}

function bytesOf(value: Uint8Array | string | undefined): Uint8Array {
  return typeof value === 'string' ? Buffer.from(value, 'utf8') : (value ?? new Uint8Array(0));
}

/** From a file or bytes. Throws ModuleError, WasmError. */
export function loadPlugin(module: string | Uint8Array, options: PluginOptions = {}): TestPlugin {
  const bytes = typeof module === 'string' ? readFileSync(module) : module;
  return new TestPlugin(new V8Vm(compileCode(bytes)), options);
}
