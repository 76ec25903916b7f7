/**
 * The `Host` of an isolated filter: metrics, log and call-outs go through the channel to the worker. Shared data is asked for there as well: a
 * thread that may be ended at any moment must not hold its lock.
 */
import type { PairMap } from '../../../../../wasm/host/header_map.ts';
import type { RemoteEnvironment } from '../../../../../wasm/isolated/remote_environment.ts';
import type { Logger } from '../../../../server/factory_context.ts';
import { toBytes } from '../../../../typescript/body_view.ts';
import { headerName, headerValue } from '../../../../typescript/headers_view.ts';
import {
  CallError,
  type CallRequest,
  type CallResponse,
  type LogFile,
  type SharedData,
} from '../../../../typescript/host_api.ts';
import { ModuleHost } from '../../../../typescript/module_host.ts';
import type { ScriptHost } from '../../../../typescript/script_host.ts';
import { decodeJson, encodeJson, fromJsonBytes, type JsonBytes, ScriptQuestion, toJsonBytes } from './script_init.ts';
import { PairHeaders } from './thread_views.ts';

const DEFAULT_CALL_TIMEOUT_MS = 5000;
const DEFAULT_RESPONSE_BYTES = 1 << 20;

export class ThreadHost<Config> extends ModuleHost<Config> {
  private readonly environment: RemoteEnvironment;
  private readonly data: SharedData;

  constructor(environment: RemoteEnvironment, scripts: ScriptHost, name: string, path: string, config: Config) {
    super(scripts, name, path, config);
    this.environment = environment;
    this.data = new AskedSharedData(environment);
  }

  override get shared(): SharedData {
    return this.data;
  }

  override hasCluster(name: string): boolean {
    return this.environment.callouts.hasCluster(name);
  }

  override logFile(path: string): LogFile {
    const write = (text: string): void => {
      ask(this.environment, ScriptQuestion.LogFile, [path, text]);
    };
    write('');
    return { write };
  }

  override call(cluster: string, request: CallRequest = {}): Promise<CallResponse> {
    return this.startCall(cluster, request, null);
  }

  override startCall(
    cluster: string,
    request: CallRequest,
    track: ((call: { cancel(): void } | null) => void) | null,
  ): Promise<CallResponse> {
    if (!this.hasCluster(cluster)) return Promise.reject(new CallError('no_cluster', `there is no cluster '${cluster}'`));
    const body = request.body === undefined ? new Uint8Array(0) : toBytes(request.body);
    const headers: [string, string][] = [
      [':method', headerValue(request.method ?? (request.body === undefined ? 'GET' : 'POST'))],
      [':path', headerValue(request.path ?? '/')],
      [':authority', headerValue(request.authority ?? cluster)],
    ];
    for (const [name, value] of Object.entries(request.headers ?? {})) headers.push([headerName(name), headerValue(value)]);
    const longest = request.maxResponseBytes ?? DEFAULT_RESPONSE_BYTES;
    return new Promise((resolve, reject) => {
      const call = this.environment.callouts.httpCall(
        { cluster, headers, body, trailers: [], timeoutMs: request.timeoutMs ?? DEFAULT_CALL_TIMEOUT_MS },
        {
          onResponse: (map, content) => {
            track?.(null);
            if (content.length > longest) {
              reject(new CallError('response_too_large', `the response of cluster '${cluster}' is longer than allowed`));
            } else resolve(new Response((map as PairMap).pairs, content));
          },
          onFailure: () => {
            track?.(null);
            reject(new CallError('reset', `cluster '${cluster}' cut the response off`));
          },
        },
      );
      if (call !== null) track?.(call);
    });
  }
}

class Response implements CallResponse {
  readonly headers: PairHeaders;
  readonly localDetails = '';
  private readonly body: Uint8Array;

  constructor(pairs: [string, string][], body: Uint8Array) {
    this.headers = new PairHeaders(pairs);
    this.body = body;
  }

  get status(): number {
    return Number(this.headers.get(':status') ?? 0);
  }

  bytes(): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.body);
  }

  text(): string {
    return Buffer.from(this.body).toString('utf8');
  }

  json(): unknown {
    return JSON.parse(this.text());
  }
}

/** A question to the worker that is of no stream. Throws the error that it answers with. */
function ask(environment: RemoteEnvironment, question: string, args: unknown[]): unknown {
  const found = environment.foreignFunction(question, encodeJson(args));
  const answer = decodeJson(found?.result ?? new Uint8Array(0)) as { value?: unknown; error?: string } | undefined;
  if (answer?.error !== undefined) throw new Error(answer.error);
  return answer?.value;
}

class AskedSharedData implements SharedData {
  private readonly environment: RemoteEnvironment;

  constructor(environment: RemoteEnvironment) {
    this.environment = environment;
  }

  private ask<T>(method: keyof SharedData, ...args: unknown[]): T {
    return ask(this.environment, ScriptQuestion.Shared, [method, ...args]) as T;
  }

  get(key: string): Uint8Array<ArrayBuffer> | undefined {
    const found = this.ask<JsonBytes | undefined>('get', key);
    return found === undefined ? undefined : new Uint8Array(fromJsonBytes(found) as Uint8Array);
  }

  getText(key: string): string | undefined {
    return this.ask('getText', key);
  }

  set(key: string, value: string | Uint8Array): void {
    this.ask('set', key, toJsonBytes(value));
  }

  delete(key: string): boolean {
    return this.ask('delete', key);
  }

  add(key: string, amount: number): number {
    return this.ask('add', key, amount);
  }

  getNumber(key: string): number | undefined {
    return this.ask('getNumber', key);
  }

  setNumber(key: string, value: number): void {
    this.ask('setNumber', key, value);
  }

  compareAndSet(key: string, expected: string | Uint8Array | undefined, value: string | Uint8Array): boolean {
    return this.ask('compareAndSet', key, expected === undefined ? null : toJsonBytes(expected), toJsonBytes(value));
  }

  takeTokens(key: string, capacity: number, perSecond: number, tokens = 1): boolean {
    return this.ask('takeTokens', key, capacity, perSecond, tokens);
  }
}

/** The log of a thread whose log is somewhere else. */
export function threadLogger(environment: RemoteEnvironment): Logger {
  const at = (level: number) => (message: string) => environment.log(level, message);
  return {
    trace: at(0),
    debug: at(1),
    info: at(2),
    warn: at(3),
    error: at(4),
    critical: at(5),
    traceEnabled: environment.logLevel <= 0,
    debugEnabled: environment.logLevel <= 1,
  } as Logger;
}
