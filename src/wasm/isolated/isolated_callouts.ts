/** The call-outs of an isolated plugin, in the dispatcher's thread: started for it, their answers sent to its thread. */
import type { Callouts, GrpcStream, HostEnvironment } from '../host/environment.ts';
import type { FromVm, GrpcEvent, Pairs, ToVm } from './protocol.ts';

const GRPC_UNAVAILABLE = 14;

export class IsolatedCallouts {
  private readonly callouts: Callouts | null;
  private readonly post: (message: ToVm) => void;
  private readonly http = new Map<number, { cancel(): void } | null>();
  private readonly grpc = new Map<number, GrpcStream | null>();

  constructor(environment: HostEnvironment, post: (message: ToVm) => void) {
    this.callouts = environment.callouts;
    this.post = post;
  }

  httpCall({ id, request }: FromVm & { type: 'httpCall' }): void {
    const finish = (headers: Pairs | null, body: Uint8Array, trailers: Pairs | null): void => {
      this.http.delete(id);
      this.post({ type: 'httpAnswer', id, headers, body, trailers });
    };
    this.http.set(id, null);
    const handle =
      this.callouts?.httpCall(request, {
        onResponse: (headers, body, trailers) => finish(pairsOf(headers), body, trailers === null ? null : pairsOf(trailers)),
        onFailure: () => finish(null, new Uint8Array(0), null),
      }) ?? null;
    if (handle === null) finish(null, new Uint8Array(0), null);
    else if (this.http.has(id)) this.http.set(id, handle);
  }

  cancelHttpCall(id: number): void {
    this.http.get(id)?.cancel();
    this.http.delete(id);
  }

  grpcStart({ id, request }: FromVm & { type: 'grpcStart' }): void {
    const tell = (event: GrpcEvent): void => {
      if (this.grpc.has(id)) this.post({ type: 'grpcEvent', id, event });
    };
    const close = (status: number, message: string): void => {
      tell({ kind: 'close', status, message });
      this.grpc.delete(id);
    };
    this.grpc.set(id, null);
    const stream =
      this.callouts?.grpcStream(request, {
        onInitialMetadata: (metadata) => tell({ kind: 'initialMetadata', pairs: pairsOf(metadata) }),
        onMessage: (bytes) => tell({ kind: 'message', bytes }),
        onTrailingMetadata: (metadata) => tell({ kind: 'trailingMetadata', pairs: pairsOf(metadata) }),
        onClose: close,
      }) ?? null;
    if (stream === null) close(GRPC_UNAVAILABLE, 'could not be started');
    else if (this.grpc.has(id)) this.grpc.set(id, stream);
  }

  grpcSend({ id, message, end }: FromVm & { type: 'grpcSend' }): void {
    const stream = this.grpc.get(id);
    if (message === null) stream?.close();
    else stream?.send(message, end);
  }

  grpcReset(id: number): void {
    const stream = this.grpc.get(id);
    this.grpc.delete(id);
    stream?.reset();
  }

  cancelAll(): void {
    for (const call of this.http.values()) call?.cancel();
    this.http.clear();
    const streams = [...this.grpc.values()];
    this.grpc.clear();
    for (const stream of streams) stream?.reset();
  }
}

function pairsOf(map: { forEach(visit: (name: string, value: string) => void): void }): Pairs {
  const pairs: Pairs = [];
  map.forEach((name, value) => {
    pairs.push([name, value]);
  });
  return pairs;
}
