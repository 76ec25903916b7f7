/** Who this proxy is: from flags, then from `node` in the bootstrap (Envoy: LocalInfoImpl). */
import { hostname, networkInterfaces } from 'node:os';
import type { Bootstrap } from '../config/types.gen.ts';
import type { Locality } from '../upstream/endpoint_config.ts';
import type { LocalInfo } from './factory_context.ts';

export interface NodeFlags {
  serviceCluster?: string;
  serviceNode?: string;
  serviceZone?: string;
}

export function localInfo(bootstrap: Bootstrap, flags: NodeFlags): LocalInfo {
  return {
    nodeId: flags.serviceNode ?? bootstrap.node?.id ?? '',
    clusterName: flags.serviceCluster ?? bootstrap.node?.cluster ?? '',
    zone: flags.serviceZone ?? bootstrap.node?.locality?.zone ?? '',
    hostname: hostname(),
    address: firstAddress(),
    node: (bootstrap.node ?? {}) as Record<string, unknown>,
  };
}

/** Where this proxy is: `node.locality`, its zone by `--service-zone`. */
export function localLocality(info: LocalInfo): Locality {
  const { region = '', subZone = '' } = (info.node?.locality ?? {}) as Partial<Locality>;
  return { region, zone: info.zone, subZone };
}

/** The first IPv4 address that is not loopback, else 127.0.0.1. */
function firstAddress(): string {
  for (const addresses of Object.values(networkInterfaces())) {
    const found = addresses?.find((a) => a.family === 'IPv4' && !a.internal);
    if (found !== undefined) return found.address;
  }
  return '127.0.0.1';
}
