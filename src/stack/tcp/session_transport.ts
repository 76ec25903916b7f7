/**
 * TCP as a transport of the session layer: sessions' FIFOs take the place of a connection's own buffers, so bytes go from the packet
 * into the application's memory and from there into packets, without a stop in between.
 */
import { IpAddress } from '../ip/address.ts';
import { Endpoint } from '../session/endpoint.ts';
import { SessionError } from '../session/errors.ts';
import type { Session } from '../session/session.ts';
import { type SessionHost, type Transport, TransportProto } from '../session/transport.ts';
import type { TransportAttributeName } from '../session/transport_attributes.ts';
import { connectionAttribute } from './attributes.ts';
import { CaState, type TcpApp, TcpConnection } from './connection.ts';
import type { TcpListener } from './listener.ts';
import { seqDiff } from './seq.ts';
import { type TcpError, TcpState, tcpStateName } from './state.ts';
import type { Tcp } from './tcp.ts';

export interface TcpTransportOptions {
  tcp: Tcp;
  host: SessionHost;
  /** Has the stack polled soon. */
  wake: () => void;
  nowUs: () => number;
}

export class TcpTransport implements Transport {
  readonly proto = TransportProto.tcp;
  readonly name = 'tcp';
  private readonly tcp: Tcp;
  private readonly host: SessionHost;
  private readonly wake: () => void;
  private readonly nowUs: () => number;
  private readonly listeners = new Map<Session, TcpListener[]>();
  private readonly app: TcpApp;
  private readonly here = new Endpoint();
  private readonly there = new Endpoint();

  constructor(options: TcpTransportOptions) {
    this.tcp = options.tcp;
    this.host = options.host;
    this.wake = options.wake;
    this.nowUs = options.nowUs;
    this.app = {
      onEstablished: (c) => this.connected(c),
      onUrgent: (c) => this.host.urgentNotify?.(c.context as Session, seqDiff(c.rcvUp, c.rcvNxt)),
      onEnd: (c) => this.host.halfClosedNotify(c.context as Session),
      onClosed: (c, error) => this.closed(c, error),
      recycles: true,
    };
  }

  listen(listener: Session): number {
    const { local } = listener;
    const fib = fibOf(listener);
    const addresses = [addressOf(local)];
    // A dual-stack listener serves IPv4 too.
    if (!local.isV4 && local.isUnspecified && listener.accept?.v6only === false) addresses.push(new IpAddress(true, 0));
    const made: TcpListener[] = [];
    for (const address of addresses) {
      const { port } = local;
      const one = this.tcp.listen({
        address,
        port,
        fib,
        onAccept: (c) => this.accept(c),
        mayAccept: (here, there, therePort) => this.mayAccept(fib, here, port, there, therePort),
      });
      if (typeof one !== 'string') made.push(one);
      else if (made.length === 0) return SessionError.portInUse;
    }
    this.listeners.set(listener, made);
    return SessionError.none;
  }

  unlisten(listener: Session): void {
    for (const one of this.listeners.get(listener) ?? []) one.close();
    this.listeners.delete(listener);
    this.wake();
  }

  connect(session: Session): number {
    const { local, remote } = session;
    const fixed = local.isV4 === remote.isV4 && !local.isUnspecified;
    const c = this.tcp.connect(
      {
        remote: addressOf(remote),
        remotePort: remote.port,
        local: fixed ? addressOf(local) : undefined,
        localPort: local.port === 0 ? undefined : local.port,
        fib: fibOf(session),
        app: this.app,
      },
      this.nowUs(),
    );
    if (typeof c === 'string') return c === 'noRoute' ? SessionError.noRoute : SessionError.noPort;
    c.context = session;
    session.connection = c;
    setEndpoint(local, c.local, c.localPort);
    this.wake();
    return SessionError.none;
  }

  halfClose(session: Session): void {
    this.connectionOf(session)?.shutdown();
    this.wake();
  }

  close(session: Session): void {
    this.connectionOf(session)?.finish();
    this.wake();
  }

  reset(session: Session): void {
    const c = this.connectionOf(session);
    if (c === null) return;
    // While it connects nothing follows: the session may be another's by then.
    if (!isConnected(session)) c.app = null;
    c.abort();
    this.wake();
  }

  abort(session: Session): void {
    this.host.resetNotify(session);
    this.reset(session);
  }

  appWriteEvent(session: Session): void {
    if (session.fifos?.send.corrupted) {
      this.abort(session);
      return;
    }
    this.connectionOf(session)?.schedule();
    this.wake();
  }

  appReadEvent(session: Session): void {
    const c = this.connectionOf(session);
    if (c === null) return;
    c.windowOpened();
    this.wake();
  }

  attribute(session: Session, name: string, value?: number): number | undefined {
    const c = this.connectionOf(session);
    // A timer may be due earlier than the stack would look.
    if (value !== undefined) this.wake();
    const { fifos } = session;
    const given = name === 'urgent' && value !== undefined && fifos !== null ? (value - fifos.send.position) | 0 : value;
    return c === null ? undefined : connectionAttribute(c, name as TransportAttributeName, given);
  }

  format(session: Session, verbose: number): string {
    const c = this.connectionOf(session);
    return c === null ? 'closed' : formatConnection(c, verbose);
  }

  describe(session: Session): Record<string, unknown> {
    const c = this.connectionOf(session);
    return c === null ? {} : describeConnection(c);
  }

  private connectionOf(session: Session): TcpConnection | null {
    return session.connection instanceof TcpConnection ? session.connection : null;
  }

  /**
   * While the application's backlog is full handshakes wait, as with the kernel; those of denied sources wait for ever. Whom nobody listens
   * for is refused by `accept`.
   */
  private mayAccept(fib: number, local: IpAddress, localPort: number, remote: IpAddress, remotePort: number): boolean {
    setEndpoint(this.here, local, localPort);
    setEndpoint(this.there, remote, remotePort);
    if (this.host.deniesSource(fib, this.there)) return false;
    const listener = this.host.findListener(this.proto, fib, this.here, this.there);
    return listener === null || this.host.mayAccept(listener);
  }

  private accept(c: TcpConnection): TcpApp | null {
    const local = setEndpoint(new Endpoint(), c.local, c.localPort);
    const remote = setEndpoint(new Endpoint(), c.remote, c.remotePort);
    const listener = this.host.findListener(this.proto, c.fib, local, remote);
    const session = listener === null ? null : this.host.acceptNotify(listener, c, local, remote);
    if (session === null) {
      c.abort();
      return null;
    }
    c.context = session;
    this.useFifos(c, session);
    return this.app;
  }

  private connected(c: TcpConnection): void {
    const session = c.context as Session;
    if (!this.host.connectNotify(session, SessionError.none)) {
      c.app = null;
      c.abort();
      return;
    }
    this.useFifos(c, session);
  }

  private useFifos(c: TcpConnection, session: Session): void {
    const fifos = session.buffers ?? session.fifos!;
    // As VPP, which has no Nagle algorithm; an application may turn it on.
    c.noDelay = true;
    c.source = fifos.send;
    c.sink = fifos.receive;
  }

  private closed(c: TcpConnection, error: TcpError): void {
    const session = c.context as Session;
    // The FIFOs are given back by what follows; the connection may live on in TIME-WAIT.
    c.source = c.sending;
    c.sink = c.received;
    c.context = null;
    session.connection = null;
    if (!isConnected(session)) {
      this.host.connectNotify(session, connectError(error));
      return;
    }
    if (error === 'reset') this.host.resetNotify(session);
    else if (error === 'timedOut' || error === 'unreachable') this.host.resetNotify(session, connectError(error));
    this.host.closedNotify(session);
  }
}

function isConnected(session: Session): boolean {
  return session.fifos !== null || session.buffers !== null;
}

/** Of the namespace of the application. */
function fibOf(session: Session): number {
  return session.worker!.app.namespace.fib;
}

function connectError(error: TcpError): number {
  if (error === 'timedOut') return SessionError.timedOut;
  return error === 'unreachable' ? SessionError.noRoute : SessionError.refused;
}

function addressOf(endpoint: Endpoint): IpAddress {
  const w = endpoint.words;
  return new IpAddress(endpoint.isV4, w[0], w[1], w[2], w[3]);
}

function setEndpoint(endpoint: Endpoint, address: IpAddress, port: number): Endpoint {
  endpoint.isV4 = address.isV4;
  for (let i = 0; i < 4; i++) endpoint.words[i] = address.word(i);
  endpoint.port = port;
  return endpoint;
}

/** What `show session verbose 2 --json` says of a connection. */
export function describeConnection(c: TcpConnection): Record<string, unknown> {
  const { rtt, scoreboard } = c;
  return {
    tcpState: tcpStateName(c.state),
    congestionControl: c.cc.name,
    recovery: caStateNames[c.caState],
    cwndBytes: c.cwnd,
    ssthreshBytes: c.ssthresh === 0x7fff_ffff ? null : c.ssthresh,
    mssBytes: c.mss,
    sendWindowBytes: c.sndWnd,
    receiveWindowBytes: c.receiveRoom,
    srttUs: Math.round(rtt.srttUs),
    rttvarUs: Math.round(rtt.rttvarUs),
    minRttUs: Number.isFinite(rtt.minRttUs) ? Math.round(rtt.minRttUs) : null,
    rtoUs: Math.round(rtt.rtoUs),
    inFlightBytes: c.inFlight,
    sackedBytes: scoreboard.sackedBytes,
    lostBytes: scoreboard.lostBytes,
    retransmits: c.retransmits,
    deliveryRateBps: Math.round(c.deliveryRate * 8e6),
    pacingRateBps: Math.round(c.pacingRate * 8e6),
    ackedBytes: c.bytesAcked,
    receivedBytes: c.bytesReceived,
  };
}

const caStateNames = Object.keys(CaState);

/** `show session verbose 2`: windows, times and losses of a connection. */
export function formatConnection(c: TcpConnection, verbose: number): string {
  const state = tcpStateName(c.state);
  if (verbose < 2) return state;
  const { rtt, scoreboard } = c;
  const threshold = c.ssthresh === 0x7fff_ffff ? 'infinite' : String(c.ssthresh);
  return [
    `${state} ${c.cc.name} ${caStateNames[c.caState]}`,
    `cwnd ${c.cwnd} ssthresh ${threshold} mss ${c.mss} snd_wnd ${c.sndWnd} rcv_wnd ${c.receiveRoom}`,
    `srtt ${(rtt.srttUs / 1000).toFixed(3)} ms rttvar ${(rtt.rttvarUs / 1000).toFixed(3)} ms rto ${(rtt.rtoUs / 1000).toFixed(0)} ms`,
    `in flight ${c.inFlight} sacked ${scoreboard.sackedBytes} lost ${scoreboard.lostBytes} retransmits ${c.retransmits}`,
    `delivery ${((c.deliveryRate * 8e6) / 1e6).toFixed(1)} Mbit/s`,
    `acked ${c.bytesAcked} received ${c.bytesReceived}${c.state === TcpState.timeWait ? ' waiting' : ''}`,
  ].join(verbose > 2 ? '\n' : ' | ');
}
