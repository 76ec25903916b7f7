/**
 * Copies of one request on their way to other clusters (Envoy: Router::ShadowWriterImpl). Fire and forget: answers are dropped, failures
 * are counted on the other cluster alone. A copy that the other cluster takes too slowly is given up, so that it holds no memory.
 */
import { SliceBuffer } from '../../../core/buffer/slice_buffer.ts';
import type { Dispatcher } from '../../../core/event/dispatcher.ts';
import type { HeaderMap } from '../header_map.ts';
import { H } from '../header_names.ts';
import type { MirrorPolicy } from '../route/mirror_policy.ts';

/** A call-out under way; `async_client_stream.ts` has it. */
export interface MirrorStream {
  sendHeaders(headers: HeaderMap, endStream: boolean): void;
  sendData(data: SliceBuffer, endStream: boolean): void;
  sendTrailers(trailers: HeaderMap): void;
  cancel(): void;
  readonly sendBackedUp: boolean;
}

/** What makes call-outs; `async_client.ts` does. */
export interface MirrorClient {
  hasCluster(name: string): boolean;
  start(cluster: string, callbacks: Mirror, options: { readonly timeoutMs: number }): MirrorStream;
  prepare(headers: HeaderMap, options: object): void;
}

/** One copy. */
class Mirror {
  stream: MirrorStream | null = null;

  onHeaders(): void {}

  onData(data: SliceBuffer): void {
    data.clear();
  }

  onTrailers(): void {}

  onComplete(): void {
    this.stream = null;
  }

  onReset(): void {
    this.stream = null;
  }
}

export class RequestMirror {
  private readonly mirrors: Mirror[] = [];
  private readonly scratch: SliceBuffer;
  private readonly onAbandoned: () => void;

  /** `onAbandoned`: a copy was given up. */
  constructor(dispatcher: Dispatcher, onAbandoned: () => void) {
    this.scratch = new SliceBuffer(dispatcher.slab);
    this.onAbandoned = onAbandoned;
  }

  /** Starts a copy; `headers` stay the caller's. */
  start(
    client: MirrorClient,
    policy: MirrorPolicy,
    cluster: string,
    headers: HeaderMap,
    timeoutMs: number,
    endStream: boolean,
  ): void {
    if (!client.hasCluster(cluster)) return;
    const mirror = new Mirror();
    const stream = client.start(cluster, mirror, { timeoutMs });
    mirror.stream = stream;
    if (!endStream) this.mirrors.push(mirror);
    const copy = headers.clone();
    const host = policy.hostRewriteLiteral || (copy.getId(H[':authority']) ?? '');
    copy.setId(H[':authority'], policy.appendSuffix ? shadowHost(host) : host);
    client.prepare(copy, {});
    stream.sendHeaders(copy, endStream);
  }

  /** `data` is private and stays the caller's. */
  sendData(data: SliceBuffer, endStream: boolean): void {
    const { scratch } = this;
    for (const mirror of this.mirrors) {
      if (mirror.stream === null) continue;
      for (let i = 0; i < data.slices; i++) {
        const offset = data.offsetAt(i);
        data.slab.retain(offset);
        scratch.push(offset, data.lengthAt(i));
      }
      mirror.stream.sendData(scratch, endStream);
      if (scratch.length > 0) scratch.clear();
      if (mirror.stream?.sendBackedUp && !endStream) this.abandon(mirror);
    }
    if (endStream) this.mirrors.length = 0;
  }

  sendTrailers(trailers: HeaderMap): void {
    for (const mirror of this.mirrors) mirror.stream?.sendTrailers(trailers.clone());
    this.mirrors.length = 0;
  }

  /** The request is over: copies that have not all of it end, the others go on. */
  close(): void {
    for (const mirror of this.mirrors) this.cancel(mirror);
    this.mirrors.length = 0;
  }

  private abandon(mirror: Mirror): void {
    this.onAbandoned();
    this.cancel(mirror);
  }

  private cancel(mirror: Mirror): void {
    const { stream } = mirror;
    mirror.stream = null;
    stream?.cancel();
  }
}

/** `example.com:80` becomes `example.com-shadow:80`. */
export function shadowHost(host: string): string {
  const colon = host.lastIndexOf(':');
  const hasPort = colon > 0 && colon > host.lastIndexOf(']');
  return hasPort ? `${host.slice(0, colon)}-shadow${host.slice(colon)}` : `${host}-shadow`;
}
