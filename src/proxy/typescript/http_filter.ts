/**
 * The class that HTTP filters in TypeScript extend. One object per stream; every phase has a body that lets everything pass, may be
 * sync or async, and what is not overridden costs nothing.
 *
 *     export default class Hello extends HttpFilter {
 *       override onResponseHeaders(headers: Headers): void {
 *         headers.set('x-hello', 'world');
 *       }
 *     }
 */
import type { Body } from './body_view.ts';
import type { Headers } from './headers_view.ts';
import type { CallRequest, CallResponse, Host } from './host_api.ts';
import type { ConfigSchema } from './schema.ts';

/** What a phase may answer. Nothing means Continue. */
export const Action = {
  /** On to the next filter. */
  Continue: 0,
  /** Hold this (headers, trailers) back until `continueRequest` / `continueResponse`; body phases of this filter still come. */
  Stop: 1,
  /** Hold back and keep what comes in memory; more than the buffer limit is answered 413 (request) or 500 (response). */
  StopAndBuffer: 2,
  /** Hold back and keep what comes up to the buffer limit, then stop reading. */
  StopAndWatermark: 3,
  /** Data only: the filter took the bytes itself. */
  StopNoBuffer: 4,
} as const;
export type Action = (typeof Action)[keyof typeof Action];

// biome-ignore lint/suspicious/noConfusingVoidType: a phase without a return statement
export type PhaseResult = Action | void | Promise<Action | void>;

export interface LocalReply {
  readonly status: number;
  /** Text is sent as UTF-8. */
  readonly body?: string | Uint8Array;
  readonly headers?: Readonly<Record<string, string>>;
  /** For gRPC clients; default: from the status. */
  readonly grpcStatus?: number;
  /** For access logs (`%RESPONSE_CODE_DETAILS%`); default: the filter's name. */
  readonly details?: string;
}

/** One request and its response. */
export interface HttpStream {
  /** Unique in the process. */
  readonly id: number;
  /** Null before they came, and after the stream. */
  readonly requestHeaders: Headers | null;
  readonly requestTrailers: Headers | null;
  readonly responseHeaders: Headers | null;
  readonly responseTrailers: Headers | null;
  readonly info: StreamProperties;
  /** Answers the client; the request goes no further. */
  reply(reply: LocalReply): void;
  /** Resumes what `Action.Stop...` held back. */
  continueRequest(): void;
  continueResponse(): void;
  /**
   * For async header phases: the whole body, when it is there. Changes to it are what goes on, with content-length set right, and the
   * data phase does not see it again. A body beyond `maxBytes` (default: the connection's buffer limit) is answered 413 (request) or
   * 500 (response).
   */
  bufferRequestBody(maxBytes?: number): Promise<Body>;
  bufferResponseBody(maxBytes?: number): Promise<Body>;
  /** In a header phase of a message without body: gives it one. In a trailers phase: after the data so far. */
  addRequestData(content: string | Uint8Array): void;
  addResponseData(content: string | Uint8Array): void;
  /** In the data phase with `endStream`: gives the message trailers. */
  addRequestTrailers(): Headers;
  addResponseTrailers(): Headers;
  /** After a change of the request's headers that routes look at. */
  clearRouteCache(): void;
  /** A call-out that is cancelled when the stream ends. */
  call(cluster: string, request?: CallRequest): Promise<CallResponse>;
  /** Ends the stream without an answer. */
  abort(): void;
}

/** What is known about a stream. Names that are not known yet are empty or undefined. */
export interface StreamProperties {
  readonly protocol: string;
  /** `address:port` of the client, as `x-forwarded-for` and PROXY protocol say. */
  readonly remoteAddress: string;
  /** Without the port. */
  readonly remoteIp: string;
  readonly localAddress: string;
  readonly routeName: string;
  readonly virtualHostName: string;
  readonly clusterName: string;
  readonly upstreamAddress: string;
  readonly attemptCount: number;
  /** 0: none was sent. */
  readonly responseCode: number;
  readonly responseCodeDetails: string;
  /** As in access logs: `UF,URX`. */
  readonly responseFlags: string;
  readonly bytesReceived: number;
  readonly bytesSent: number;
  /** Wall clock, ms since the epoch. */
  readonly startTimeMs: number;
  /** So far, or in `onLog` in all. */
  readonly durationMs: number;
  readonly requestedServerName: string;
  /** Dynamic metadata, which access logs and later filters see. */
  metadata(namespace: string, key: string): unknown;
  setMetadata(namespace: string, key: string, value: unknown): void;
  /** Metadata of the route's configuration. */
  routeMetadata(namespace: string, key: string): unknown;
}

/** What an object of a filter class is made of. */
export interface HttpFilterInit<Config, Shared> {
  readonly stream: HttpStream;
  readonly config: Config;
  readonly shared: Shared;
  readonly host: Host<Config>;
}

export abstract class HttpFilter<Config = unknown, Shared = undefined> {
  readonly stream: HttpStream;
  /** Of this stream's route when it has its own, else the filter's. */
  readonly config: Config;
  /** What `static setup` returned. */
  readonly shared: Shared;
  readonly host: Host<Config>;

  constructor(init: HttpFilterInit<Config, Shared>) {
    this.stream = init.stream;
    this.config = init.config;
    this.shared = init.shared;
    this.host = init.host;
  }

  onRequestHeaders(_headers: Headers, _endStream: boolean): PhaseResult {}

  onRequestData(_data: Body, _endStream: boolean): PhaseResult {}

  onRequestTrailers(_trailers: Headers): PhaseResult {}

  onResponseHeaders(_headers: Headers, _endStream: boolean): PhaseResult {}

  onResponseData(_data: Body, _endStream: boolean): PhaseResult {}

  onResponseTrailers(_trailers: Headers): PhaseResult {}

  /** The stream is over, and how is known; before access logs are written. */
  onLog(): void {}

  /** The last call, whatever way the stream ended. */
  onDestroy(): void {}
}

/** The static side of a filter class. */
export interface HttpFilterClass<Config = unknown, Shared = unknown> {
  new (init: HttpFilterInit<Config, Shared>): HttpFilter<Config, Shared>;
  /** Checks `config` when configuration is loaded. Without it `this.config` is what the configuration says, as JSON. */
  readonly schema?: ConfigSchema<Config>;
  /** Once per worker and configured filter, before the first stream: for metrics, timers, tables. */
  setup?(host: Host<Config>): Shared;
}
