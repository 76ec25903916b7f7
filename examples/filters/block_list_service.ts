/** A singleton service with a timer: reads a list of addresses again and again, and shares it with the filters of all workers. */
import { readFileSync } from 'node:fs';
import { type Infer, Service, schema } from 'sluice/filter';

const config = schema.object({
  /** One address per line; `#` begins a comment. */
  file: schema.string(),
  interval: schema.duration({ min: 10 }).default(5000),
});

export default class BlockListService extends Service<Infer<typeof config>> {
  static readonly schema = config;

  start(): void {
    this.read();
    this.host.every(this.config.interval, () => this.read());
  }

  private read(): void {
    const lines = readFileSync(this.config.file, 'utf8').split('\n');
    const addresses = lines.map((line) => line.replace(/#.*/, '').trim()).filter((line) => line !== '');
    this.host.shared.set('block_list', JSON.stringify(addresses));
    this.host.shared.add('block_list_version', 1);
    this.host.gauge('addresses').set(addresses.length);
  }
}
