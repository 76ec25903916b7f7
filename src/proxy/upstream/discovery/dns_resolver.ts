/**
 * Names to addresses, on the main thread (Envoy: Network::DnsResolver).
 *
 * Without name servers of its own a cluster asks the system (`getaddrinfo`: hosts file, search list, nsswitch). With name servers, or
 * when TTLs matter, the hosts file is looked at first and then DNS is asked; without own servers, a name that DNS does not have
 * goes to the system after all. "No such name" and "no such record" are an empty answer, not a failure.
 */

import { lookup, Resolver } from 'node:dns/promises';
import { readFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import type { DnsLookupFamily, DnsSettings } from '../cluster_config_dns.ts';

export interface DnsAddress {
  readonly ip: string;
  /** Undefined: unknown. */
  readonly ttlSeconds?: number;
}

export interface DnsResolver {
  /** Addresses of one family, in the order of the answer. Rejects when the question could not be answered. */
  resolve(name: string, family: 4 | 6): Promise<DnsAddress[]>;
  /** Gives up questions that are under way. */
  close(): void;
}

/** Asks as `dns_lookup_family` says. */
export async function resolveFamily(resolver: DnsResolver, name: string, family: DnsLookupFamily): Promise<DnsAddress[]> {
  switch (family) {
    case 'V4_ONLY':
      return resolver.resolve(name, 4);
    case 'V6_ONLY':
      return resolver.resolve(name, 6);
    case 'AUTO':
      return firstOf(resolver, name, 6, 4);
    case 'V4_PREFERRED':
      return firstOf(resolver, name, 4, 6);
    case 'ALL':
      return both(resolver, name);
  }
}

async function firstOf(resolver: DnsResolver, name: string, preferred: 4 | 6, other: 4 | 6): Promise<DnsAddress[]> {
  const first = await resolver.resolve(name, preferred).catch(() => []);
  return first.length > 0 ? first : resolver.resolve(name, other);
}

async function both(resolver: DnsResolver, name: string): Promise<DnsAddress[]> {
  const [v6, v4] = await Promise.allSettled([resolver.resolve(name, 6), resolver.resolve(name, 4)]);
  if (v6.status === 'rejected' && v4.status === 'rejected') throw v4.reason;
  return [...(v6.status === 'fulfilled' ? v6.value : []), ...(v4.status === 'fulfilled' ? v4.value : [])];
}

export function createDnsResolver(settings: DnsSettings, hostsFile = '/etc/hosts'): DnsResolver {
  if (settings.servers.length === 0 && !settings.respectTtl) return new SystemResolver();
  return new ServerResolver(settings.servers, hostsFile);
}

class SystemResolver implements DnsResolver {
  async resolve(name: string, family: 4 | 6): Promise<DnsAddress[]> {
    try {
      const found = await lookup(name, { all: true, family, order: 'verbatim' });
      return found.filter((address) => address.family === family).map((address) => ({ ip: address.address }));
    } catch (error) {
      if (saysNone(error)) return [];
      throw error;
    }
  }

  close(): void {}
}

class ServerResolver implements DnsResolver {
  private readonly resolver = new Resolver();
  private readonly fallback: SystemResolver | null;
  private readonly hostsFile: string;

  constructor(servers: readonly string[], hostsFile: string) {
    if (servers.length > 0) this.resolver.setServers(servers);
    this.fallback = servers.length > 0 ? null : new SystemResolver();
    this.hostsFile = hostsFile;
  }

  async resolve(name: string, family: 4 | 6): Promise<DnsAddress[]> {
    const literal = isIP(name);
    if (literal !== 0) return literal === family ? [{ ip: name }] : [];
    const local = hostsEntries(await readFile(this.hostsFile, 'utf8').catch(() => ''), name, family);
    if (local.length > 0) return local.map((ip) => ({ ip }));
    try {
      const records = await (family === 4
        ? this.resolver.resolve4(name, { ttl: true })
        : this.resolver.resolve6(name, { ttl: true }));
      return records.map((record) => ({ ip: record.address, ttlSeconds: record.ttl }));
    } catch (error) {
      if (this.fallback !== null) return this.fallback.resolve(name, family);
      if (saysNone(error)) return [];
      throw error;
    }
  }

  close(): void {
    this.resolver.cancel();
  }
}

/** Addresses of a name in the text of a hosts file. */
export function hostsEntries(text: string, name: string, family: 4 | 6): string[] {
  const wanted = name.toLowerCase();
  const found: string[] = [];
  for (const line of text.split('\n')) {
    const [ip, ...names] = line.replace(/#.*/, '').trim().toLowerCase().split(/\s+/);
    if (isIP(ip) === family && names.includes(wanted)) found.push(ip);
  }
  return found;
}

function saysNone(error: unknown): boolean {
  const code = (error as NodeJS.ErrnoException).code;
  return code === 'ENOTFOUND' || code === 'ENODATA';
}
