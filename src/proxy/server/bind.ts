/**
 * Binding, on the main thread before workers start: a mistake (address in use, no permission) is found before anything serves, and
 * port 0 is the same port for all workers. With reuse_port each worker gets a socket of its own, otherwise a duplicate of one.
 */
import { check, libc, SysError } from '../../core/sys/libc.ts';
import { socketName } from '../../core/sys/socket.ts';
import { ConfigError } from '../config/error.ts';
import type { Address } from '../network/address.ts';
import type { ConnectionHandler } from '../network/connection_handler.ts';
import type { ListenOptions } from '../network/io_handle.ts';
import { fromSocketAddress, openListenSocket } from '../network/kernel_socket.ts';

/** What is to be bound for one listener. */
export interface BindPlan {
  readonly name: string;
  readonly sockets: readonly ListenOptions[];
}

export interface BoundListener {
  readonly name: string;
  readonly addresses: readonly Address[];
  /** By worker, then by address; -1 where workers listen by themselves. */
  readonly fds: readonly (readonly number[])[];
}

/** Finds out for another socket interface than the kernel's whether workers can listen there. Rejects with SysError. */
export type Reserve = (options: ListenOptions) => Promise<Address> | null;

/** The plan of the listeners of a handler (those that bind). */
export function bindPlans(
  handler: ConnectionHandler,
  configured: readonly { bindToPort?: boolean; deprecatedV1?: { bindToPort?: boolean } }[],
): BindPlan[] {
  return handler.describe().map(({ name, config }, i) => ({
    name,
    sockets:
      configured[i].bindToPort === false || configured[i].deprecatedV1?.bindToPort === false
        ? []
        : config.addresses.map(({ address, socketOptions }) => ({
            address,
            socketOptions,
            backlog: config.backlog,
            reusePort: config.reusePort,
            transparent: config.transparent,
            freebind: config.freebind,
            socketInterface: config.socketInterface,
          })),
  }));
}

/** Binds everything for `workers` workers. Rejects with ConfigError naming the listener; then nothing stays open. */
export async function bindListeners(plans: readonly BindPlan[], workers: number, reserve: Reserve): Promise<BoundListener[]> {
  const opened: number[] = [];
  try {
    const bound: BoundListener[] = [];
    for (const [i, plan] of plans.entries())
      bound.push(await bindListener(plan, workers, opened, reserve, `static_resources.listeners[${i}].address`));
    return bound;
  } catch (error) {
    for (const fd of opened) libc.close(fd);
    throw error;
  }
}

async function bindListener(
  plan: BindPlan,
  workers: number,
  opened: number[],
  reserve: Reserve,
  path: string,
): Promise<BoundListener> {
  const fds: number[][] = Array.from({ length: workers }, () => []);
  const addresses: Address[] = [];
  for (const socket of plan.sockets) {
    try {
      const reserved = reserve(socket);
      if (reserved !== null) {
        addresses.push(await reserved);
        for (const own of fds) own.push(-1);
        continue;
      }
      const first = openListenSocket(socket);
      opened.push(first);
      const bound = fromSocketAddress(socketName(first));
      addresses.push(bound);
      fds[0].push(first);
      for (let worker = 1; worker < workers; worker++) {
        const own = socket.reusePort && bound.kind === 'ip';
        const fd = own
          ? openListenSocket({ ...socket, address: { ...bound, v6only: ipv6Only(socket) } })
          : check(libc.dup(first), 'dup');
        opened.push(fd);
        fds[worker].push(fd);
      }
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      throw new ConfigError(
        `error adding listener '${plan.name}': cannot ${error.syscall} '${socket.address.asString}': ${error.message}`,
        { path },
      );
    }
  }
  return { name: plan.name, addresses, fds };
}

function ipv6Only(socket: ListenOptions): boolean | undefined {
  return socket.address.kind === 'ip' ? socket.address.v6only : undefined;
}
