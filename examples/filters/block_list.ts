/** Refuses clients whose address is on the list that `block_list_service.ts` shares. */
import { type Host, HttpFilter } from 'sluice/filter';

/** The list as this worker has read it last. */
class BlockList {
  private readonly host: Host;
  private version = -1;
  private addresses = new Set<string>();

  constructor(host: Host) {
    this.host = host;
  }

  has(address: string): boolean {
    const { shared } = this.host;
    const version = shared.getNumber('block_list_version') ?? 0;
    if (version !== this.version) {
      this.version = version;
      this.addresses = new Set(JSON.parse(shared.getText('block_list') ?? '[]') as string[]);
    }
    return this.addresses.has(address);
  }
}

export default class BlockListFilter extends HttpFilter<unknown, BlockList> {
  static setup(host: Host): BlockList {
    return new BlockList(host);
  }

  override onRequestHeaders(): void {
    if (this.shared.has(this.stream.info.remoteIp)) this.stream.reply({ status: 403, body: 'blocked\n', details: 'block_list' });
  }
}
