/** What the thread of an isolated filter is given, and how it asks its worker for what is not of its thread. */
export interface ScriptThreadInit {
  readonly path: string;
  readonly name: string;
  readonly directory: string;
  readonly config: Readonly<Record<string, unknown>>;
  readonly failOpen: boolean;
  readonly deadlineMs: number;
  readonly workerIndex: number;
  /** `setup` does not run. */
  readonly validateOnly: boolean;
}

/** Questions, by the name of a foreign function; arguments and results are JSON. */
export const ScriptQuestion = { Shared: 'shared', Info: 'info', LogFile: 'log_file' } as const;

/** The phases by the callbacks of modules, which the worker's side goes by. */
export const PHASE_CALLBACKS = {
  onRequestHeaders: 'proxy_on_request_headers',
  onRequestData: 'proxy_on_request_body',
  onRequestTrailers: 'proxy_on_request_trailers',
  onResponseHeaders: 'proxy_on_response_headers',
  onResponseData: 'proxy_on_response_body',
  onResponseTrailers: 'proxy_on_response_trailers',
} as const;

export function encodeJson(value: unknown): Uint8Array {
  return value === undefined ? new Uint8Array(0) : Buffer.from(JSON.stringify(value), 'utf8');
}

export function decodeJson(bytes: Uint8Array): unknown {
  return bytes.length === 0 ? undefined : JSON.parse(Buffer.from(bytes).toString('utf8'));
}

/** Bytes travel as base64. */
export interface JsonBytes {
  readonly base64: string;
}

export function toJsonBytes(value: string | Uint8Array): string | JsonBytes {
  return typeof value === 'string' ? value : { base64: Buffer.from(value).toString('base64') };
}

export function fromJsonBytes(value: string | JsonBytes): string | Uint8Array {
  return typeof value === 'string' ? value : Buffer.from(value.base64, 'base64');
}
