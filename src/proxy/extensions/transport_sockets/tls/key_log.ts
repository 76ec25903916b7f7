/** `key_log` of a TLS context: a file for the secrets of connections, of all or of those between some addresses, for debugging. */
import { appendFileSync } from 'node:fs';
import { type CidrRangeConfig, IpList } from '../../../common/cidr_range.ts';
import type { ConnectionAddresses } from '../../../network/transport_socket.ts';

export interface KeyLogConfig {
  path: string;
  localAddressRange?: readonly CidrRangeConfig[];
  remoteAddressRange?: readonly CidrRangeConfig[];
}

/** Each line is written at once. A line that cannot be written is lost. */
export function keyLogTo(path: string): (line: string) => void {
  return (line) => {
    try {
      appendFileSync(path, `${line}\n`, { mode: 0o600 });
    } catch {
      // Nobody to tell: the connection goes on.
    }
  };
}

/** Which connections a key log is for. */
export class KeyLogFilter {
  private readonly local: IpList;
  private readonly remote: IpList;

  constructor(local: IpList, remote: IpList) {
    this.local = local;
    this.remote = remote;
  }

  /** Null: all connections. Throws ConfigError. */
  static of(config: KeyLogConfig | undefined): KeyLogFilter | null {
    const list = (ranges: readonly CidrRangeConfig[] | undefined, field: string): IpList =>
      new IpList(ranges ?? [], `common_tls_context.key_log.${field}`);
    const local = list(config?.localAddressRange, 'local_address_range');
    const remote = list(config?.remoteAddressRange, 'remote_address_range');
    return local.size === 0 && remote.size === 0 ? null : new KeyLogFilter(local, remote);
  }

  /** Ranges that are not there contain any address. */
  covers({ localAddress, remoteAddress }: ConnectionAddresses): boolean {
    if (this.local.size > 0 && !this.local.contains(localAddress)) return false;
    return this.remote.size === 0 || this.remote.contains(remoteAddress);
  }
}
