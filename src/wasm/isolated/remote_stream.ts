/**
 * Streams and connections of an isolated plugin in its VM's thread: their messages are copies, gone when the callback has returned; what the
 * module wants done with them is said to the other thread.
 */
import { PeerType, Status } from '../abi/enums.ts';
import { ByteBuffer } from '../host/buffer.ts';
import type { LocalResponse } from '../host/context.ts';
import type { ForeignResult } from '../host/environment.ts';
import { PairMap } from '../host/header_map.ts';
import { HttpContext, type HttpStreamHost } from '../host/http_context.ts';
import type { PropertyValue } from '../host/property_value.ts';
import type { RootContext } from '../host/root_context.ts';
import { TcpContext, type TcpStreamHost } from '../host/tcp_context.ts';
import { ask, say } from './channel.ts';
import { type CallMessage, type Outcome, pairMap, type StreamAction, type ToVm } from './protocol.ts';
import { foreignOf, propertyOf } from './remote_environment.ts';

/** Of either kind. */
export interface RemoteStream {
  call(message: CallMessage): Outcome;
  end(message: ToVm & { type: 'end' }): void;
}

/** What both kinds ask and say by their number. */
abstract class StreamSide {
  readonly id: number;

  constructor(id: number) {
    this.id = id;
  }

  protected act(action: StreamAction): void {
    say({ type: 'action', stream: this.id, action });
  }

  property(path: string): PropertyValue {
    return propertyOf(this.id, path);
  }

  setProperty(path: string, value: Uint8Array): Status {
    return ask({ ask: 'setProperty', stream: this.id, path, value }).status;
  }

  foreignFunction(name: string, args: Uint8Array): ForeignResult | undefined {
    return foreignOf(this.id, name, args);
  }
}

/** An HTTP stream. */
export class RemoteHttpStream extends StreamSide implements RemoteStream, HttpStreamHost {
  private readonly context: HttpContext;
  private requestHeaders: PairMap | null = null;
  private addedTrailers: PairMap | null = null;

  constructor(id: number, root: RootContext) {
    super(id);
    this.context = new HttpContext(root, this);
    this.context.create(root);
  }

  call(message: CallMessage): Outcome {
    const { kind, end } = message;
    const map = message.pairs === null ? null : new PairMap(message.pairs);
    const before = map === null ? '' : JSON.stringify(map.pairs);
    const body = message.body === null ? null : new ByteBuffer(message.body);
    this.addedTrailers = null;
    let action: number;
    switch (kind) {
      case 'requestHeaders':
        this.requestHeaders = map;
        action = this.context.onRequestHeaders(map as PairMap, end);
        break;
      case 'requestBody':
        action = this.context.onRequestBody(body as ByteBuffer, end);
        this.context.requestBody = null;
        break;
      case 'requestTrailers':
        action = this.context.onRequestTrailers(map as PairMap);
        break;
      case 'responseHeaders':
        action = this.context.onResponseHeaders(map as PairMap, end);
        break;
      case 'responseBody':
        action = this.context.onResponseBody(body as ByteBuffer, end);
        this.context.responseBody = null;
        break;
      default:
        action = this.context.onResponseTrailers(map as PairMap);
        break;
    }
    if (action === 0) {
      if (kind === 'requestHeaders') this.context.requestHeaders = null;
      if (kind === 'responseHeaders') this.context.responseHeaders = null;
    }
    return {
      action,
      pairs: map !== null && JSON.stringify(map.pairs) !== before ? map.pairs : null,
      body: body?.changed === true ? body.bytes : null,
      trailers: (this.addedTrailers as PairMap | null)?.pairs ?? null,
    };
  }

  end({ request, response, trailers }: ToVm & { type: 'end' }): void {
    this.context.end(pairMap(request), pairMap(response), pairMap(trailers));
  }

  continueRequest(): void {
    this.act({ do: 'continueRequest', requestHeaders: this.requestHeaders?.pairs });
  }

  continueResponse(): void {
    this.act({ do: 'continueResponse' });
  }

  resetStream(): void {
    this.act({ do: 'reset' });
  }

  sendLocalReply(response: LocalResponse): void {
    this.context.forgetReply();
    this.act({ do: 'reply', response });
  }

  clearRouteCache(): void {
    this.act({ do: 'clearRouteCache' });
  }

  /** Bodies are whole here, and gone when their callback has returned. */
  heldRequestBody(): null {
    return null;
  }

  heldResponseBody(): null {
    return null;
  }

  addRequestTrailers(): PairMap {
    this.addedTrailers = new PairMap();
    return this.addedTrailers;
  }

  addResponseTrailers(): PairMap {
    this.addedTrailers = new PairMap();
    return this.addedTrailers;
  }

  override foreignFunction(name: string, args: Uint8Array): ForeignResult | undefined {
    if (name !== 'clear_route_cache') return super.foreignFunction(name, args);
    this.clearRouteCache();
    return { status: Status.Ok };
  }
}

/** A connection. */
export class RemoteConnection extends StreamSide implements RemoteStream, TcpStreamHost {
  private readonly context: TcpContext;

  constructor(id: number, root: RootContext) {
    super(id);
    this.context = new TcpContext(root, this);
  }

  call({ kind, body, end }: CallMessage): Outcome {
    const { context } = this;
    const data = new ByteBuffer(body ?? undefined);
    let action = 0;
    switch (kind) {
      case 'newConnection':
        action = context.onNewConnection();
        break;
      case 'downstreamData':
        action = context.onDownstreamData(data, end);
        context.downstreamData = null;
        break;
      case 'upstreamData':
        action = context.onUpstreamData(data, end);
        context.upstreamData = null;
        break;
      case 'downstreamClose':
        context.onDownstreamClose(end ? PeerType.Remote : PeerType.Local);
        break;
      default:
        context.onUpstreamClose(PeerType.Unknown);
        break;
    }
    return { action, pairs: null, body: data.changed ? data.bytes : null, trailers: null };
  }

  end(): void {
    this.context.end();
  }

  continueDownstream(): void {
    this.act({ do: 'continueDownstream' });
  }

  close(): void {
    this.act({ do: 'close' });
  }
}
