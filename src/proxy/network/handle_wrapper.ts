/** What every transport socket answers as the IoHandle below it does. */
import type { Dispatcher } from '../../core/event/dispatcher.ts';
import type { Address } from './address.ts';
import type { IoHandle } from './io_handle.ts';

export abstract class HandleWrapper {
  protected readonly dispatcher: Dispatcher;
  protected readonly handle: IoHandle;

  constructor(dispatcher: Dispatcher, handle: IoHandle) {
    this.dispatcher = dispatcher;
    this.handle = handle;
  }

  get fd(): number {
    return this.handle.fd;
  }

  get interfaceName(): string {
    return this.handle.interfaceName;
  }

  connect(address: Address): void {
    this.handle.connect(address);
  }

  localAddress(): Address {
    return this.handle.localAddress();
  }

  remoteAddress(): Address {
    return this.handle.remoteAddress();
  }

  setOption(level: number, name: number, value: number): number {
    return this.handle.setOption(level, name, value);
  }

  getOption(level: number, name: number): number {
    return this.handle.getOption(level, name);
  }

  getOptionBytes(level: number, name: number, length: number): Uint8Array | null {
    return this.handle.getOptionBytes(level, name, length);
  }

  lastRoundTripTimeMs(): number | undefined {
    return this.handle.lastRoundTripTimeMs();
  }
}
