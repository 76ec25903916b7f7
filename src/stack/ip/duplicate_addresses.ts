/**
 * Duplicate address detection for IPv6 (RFC 4862 5.4), optimistic (RFC 4429): an address is used from the start, asked for once, and given
 * up when another host answers or asks for it within a second. What happens later is only counted: our own advertisements have
 * defended it by then. Left out: repeated transmissions, a random delay before the first, nonces (RFC 7527).
 */
import type { IpAddress } from './address.ts';

/** RetransTimer. */
const WAIT_US = 1_000_000;

interface Probe {
  readonly device: number;
  readonly address: IpAddress;
  /** 0: not asked yet. */
  untilUs: number;
}

export class DuplicateAddresses {
  /** An address is another host's. */
  onDuplicate: ((device: number, address: IpAddress) => void) | null = null;
  private readonly probes: Probe[] = [];
  private readonly ask: (device: number, address: IpAddress) => void;

  /** `ask` sends a solicitation for the address from the unspecified one. */
  constructor(ask: (device: number, address: IpAddress) => void) {
    this.ask = ask;
  }

  start(device: number, address: IpAddress): void {
    this.probes.push({ device, address, untilUs: 0 });
  }

  poll(nowUs: number): void {
    for (let i = this.probes.length - 1; i >= 0; i--) {
      const probe = this.probes[i];
      if (probe.untilUs === 0) {
        probe.untilUs = nowUs + WAIT_US;
        this.ask(probe.device, probe.address);
      } else if (nowUs >= probe.untilUs) this.probes.splice(i, 1);
    }
  }

  nextDeadlineUs(): number {
    let next = Number.POSITIVE_INFINITY;
    for (const { untilUs } of this.probes) next = Math.min(next, untilUs);
    return next;
  }

  /** Another host on the link has, or wants, this address of ours. True: it is not ours any more. */
  claimed(device: number, address: IpAddress): boolean {
    const at = this.probes.findIndex((probe) => probe.device === device && probe.address.equals(address));
    if (at < 0) return false;
    this.probes.splice(at, 1);
    this.onDuplicate?.(device, address);
    return true;
  }
}
