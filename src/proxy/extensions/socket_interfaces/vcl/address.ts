/** Addresses between the proxy and VCL. */
import type { VclSession } from '../../../../stack/vcl/session.ts';
import { type Address, type IpAddress, ipAddress } from '../../../network/address.ts';

type Endpoint = VclSession['local'];

/** False when VCL cannot have it. */
export function toEndpoint(address: Address, endpoint: Endpoint): boolean {
  return address.kind === 'ip' && endpoint.set(address.ip, address.port);
}

export function fromEndpoint(endpoint: Endpoint): IpAddress {
  return ipAddress(endpoint.ip, endpoint.port);
}
