/**
 * HTTP and gRPC calls of one plugin: tokens (low two bits: 0 HTTP, 1 gRPC call, 2 gRPC stream; numbers unique in the VM), and their answers,
 * which reach the module with the root context's id, never while it runs.
 */
import { Status } from '../abi/enums.ts';
import { ByteBuffer } from './buffer.ts';
import type { GrpcRequest, GrpcStream, HttpCallRequest } from './environment.ts';
import type { HostHeaderMap } from './header_map.ts';
import { PairMap } from './header_map.ts';
import type { RootContext } from './root_context.ts';

const Kind = { Http: 0, GrpcCall: 1, GrpcStream: 2 } as const;

/** A plugin that starts calls and never lets them end must not fill memory. */
const MAX_OUTSTANDING = 10_000;

const BROKEN_CONNECTION = 11;

interface GrpcEntry {
  stream: GrpcStream | null;
  readonly unary: boolean;
  message: Uint8Array | null;
  localClosed: boolean;
}

export class Callouts {
  private readonly root: RootContext;
  private readonly http = new Map<number, { cancel(): void } | null>();
  private readonly grpc = new Map<number, GrpcEntry>();

  constructor(root: RootContext) {
    this.root = root;
  }

  private nextToken(kind: number): number {
    const token = this.root.wasm.nextCallId++ * 4 + kind;
    if (this.root.wasm.nextCallId > 0x1ffffff) this.root.wasm.nextCallId = 1;
    return token;
  }

  get outstanding(): number {
    return this.http.size + this.grpc.size;
  }

  /** The token, or 0: it could not be sent. */
  httpCall(request: HttpCallRequest): number {
    const callouts = this.root.wasm.environment.callouts;
    if (callouts === null || this.outstanding >= MAX_OUTSTANDING) return 0;
    const token = this.nextToken(Kind.Http);
    this.http.set(token, null);
    const handle = callouts.httpCall(request, {
      onResponse: (headers, body, trailers) =>
        this.root.wasm.afterCall(() => this.onHttpResponse(token, headers, body, trailers)),
      onFailure: () => this.root.wasm.afterCall(() => this.onHttpFailure(token)),
    });
    if (handle === null) {
      this.http.delete(token);
      return 0;
    }
    if (this.http.has(token)) this.http.set(token, handle);
    return token;
  }

  private onHttpResponse(token: number, headers: HostHeaderMap, body: Uint8Array, trailers: HostHeaderMap | null): void {
    if (!this.http.delete(token)) return;
    const { root } = this;
    root.httpCallHeaders = headers;
    root.httpCallTrailers = trailers ?? new PairMap();
    root.httpCallBody = new ByteBuffer(body);
    root.wasm.call5(root, 'proxy_on_http_call_response', root.id, token, headers.size, body.length, trailers?.size ?? 0);
    root.httpCallHeaders = null;
    root.httpCallTrailers = null;
    root.httpCallBody = null;
  }

  private onHttpFailure(token: number): void {
    if (!this.http.delete(token)) return;
    const { root } = this;
    root.statusCode = BROKEN_CONNECTION;
    root.statusMessage = 'reset';
    root.wasm.call5(root, 'proxy_on_http_call_response', root.id, token, 0, 0, 0);
    root.statusMessage = '';
  }

  /** A unary call with its only message, or a stream (`message` null). The token, or 0. */
  grpcStart(request: GrpcRequest, message: Uint8Array | null): number {
    const callouts = this.root.wasm.environment.callouts;
    if (callouts === null || this.outstanding >= MAX_OUTSTANDING) return 0;
    const unary = message !== null;
    const token = this.nextToken(unary ? Kind.GrpcCall : Kind.GrpcStream);
    const entry: GrpcEntry = { stream: null, unary, message: null, localClosed: false };
    this.grpc.set(token, entry);
    const { wasm } = this.root;
    entry.stream = callouts.grpcStream(request, {
      onInitialMetadata: (metadata) => wasm.afterCall(() => this.onGrpcInitialMetadata(token, metadata)),
      onMessage: (bytes) => wasm.afterCall(() => this.onGrpcMessage(token, bytes)),
      onTrailingMetadata: (metadata) => wasm.afterCall(() => this.onGrpcTrailingMetadata(token, metadata)),
      onClose: (status, text) => wasm.afterCall(() => this.onGrpcClose(token, status, text)),
    });
    if (entry.stream === null) {
      this.grpc.delete(token);
      return 0;
    }
    if (message !== null) entry.stream.send(message, true);
    return token;
  }

  grpcSend(token: number, message: Uint8Array, endStream: boolean): Status {
    if ((token & 3) !== Kind.GrpcStream) return Status.BadArgument;
    const entry = this.grpc.get(token);
    if (entry === undefined || entry.stream === null) return Status.NotFound;
    if (entry.localClosed) return Status.BadArgument;
    entry.localClosed = endStream;
    entry.stream.send(message, endStream);
    return Status.Ok;
  }

  /** Our side is finished; of a call: forgets it. */
  grpcClose(token: number): Status {
    if ((token & 3) === Kind.GrpcCall) return this.grpcCancel(token);
    if ((token & 3) !== Kind.GrpcStream) return Status.BadArgument;
    const entry = this.grpc.get(token);
    if (entry === undefined) return Status.NotFound;
    if (!entry.localClosed) {
      entry.localClosed = true;
      entry.stream?.close();
    }
    return Status.Ok;
  }

  grpcCancel(token: number): Status {
    if ((token & 3) !== Kind.GrpcCall && (token & 3) !== Kind.GrpcStream) return Status.BadArgument;
    const entry = this.grpc.get(token);
    if (entry === undefined) return Status.NotFound;
    this.grpc.delete(token);
    entry.stream?.reset();
    return Status.Ok;
  }

  private onGrpcInitialMetadata(token: number, metadata: HostHeaderMap): void {
    const entry = this.grpc.get(token);
    if (entry === undefined || entry.unary) return;
    const { root } = this;
    root.grpcInitialMetadata = metadata;
    root.wasm.call3(root, 'proxy_on_grpc_receive_initial_metadata', root.id, token, metadata.size);
    root.grpcInitialMetadata = null;
  }

  private onGrpcMessage(token: number, message: Uint8Array): void {
    const entry = this.grpc.get(token);
    if (entry === undefined) return;
    // Of a unary call the answer counts only when the status is OK.
    if (entry.unary) entry.message ??= message;
    else this.deliver(token, message);
  }

  private deliver(token: number, message: Uint8Array): void {
    const { root } = this;
    root.grpcMessage = new ByteBuffer(message);
    root.wasm.call3(root, 'proxy_on_grpc_receive', root.id, token, message.length);
    root.grpcMessage = null;
  }

  private onGrpcTrailingMetadata(token: number, metadata: HostHeaderMap): void {
    const entry = this.grpc.get(token);
    if (entry === undefined || entry.unary) return;
    const { root } = this;
    root.grpcTrailingMetadata = metadata;
    root.wasm.call3(root, 'proxy_on_grpc_receive_trailing_metadata', root.id, token, metadata.size);
    root.grpcTrailingMetadata = null;
  }

  private onGrpcClose(token: number, status: number, text: string): void {
    const entry = this.grpc.get(token);
    if (entry === undefined) return;
    this.grpc.delete(token);
    const { root } = this;
    root.statusCode = status;
    root.statusMessage = text;
    if (entry.unary && status === 0 && entry.message !== null) this.deliver(token, entry.message);
    else root.wasm.call3(root, 'proxy_on_grpc_close', root.id, token, status);
    root.statusMessage = '';
  }

  cancelAll(): void {
    for (const handle of this.http.values()) handle?.cancel();
    this.http.clear();
    for (const entry of this.grpc.values()) entry.stream?.reset();
    this.grpc.clear();
  }
}
