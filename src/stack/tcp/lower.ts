/** What TCP asks of the layer below and of its host: packets, routes and random numbers. TCP itself does no I/O and reads no clock. */
import type { Packet } from '../graph/packet.ts';
import type { IpAddress } from '../ip/address.ts';

/** How packets reach a destination now. */
export interface TcpRoute {
  /** Largest IP packet. */
  readonly mtu: number;
  /** Largest TCP payload that may be handed down at once; 0: no segmentation offload. */
  readonly maxGsoBytes: number;
}

export interface TcpLower {
  /** An empty packet with headroom and room for `bytes`, or null when memory is short. */
  allocate(bytes: number): Packet | null;
  /** Sends the TCP segment in [start, end) of `packet`, whose checksum field is zero, by table `packet.fib`; takes ownership. */
  send(packet: Packet, local: IpAddress, remote: IpAddress, trafficClass: number): void;
  /** Null when there is no route. */
  route(local: IpAddress, remote: IpAddress, fib: number): TcpRoute | null;
  /** A single host: not a multicast or broadcast address. */
  isUnicast(address: IpAddress, fib: number): boolean;
  /** The address that packets to `remote` leave from; null when there is no route. */
  sourceFor(remote: IpAddress, fib: number): IpAddress | null;
}

/** 32 random bits, signed. */
export type Random32 = () => number;
