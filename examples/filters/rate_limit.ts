/** A token bucket for each client (or value of a header), in memory that all workers share. */
import { type Headers, HttpFilter, type Infer, SharedDataFull, schema } from 'sluice/filter';

const config = schema.object({
  requests_per_second: schema.number({ min: 0.001 }),
  burst: schema.integer({ min: 1 }),
  /** Instead of the client's address. */
  key_header: schema.string().optional(),
});

export default class RateLimit extends HttpFilter<Infer<typeof config>> {
  static readonly schema = config;

  override onRequestHeaders(headers: Headers): void {
    const { requests_per_second, burst, key_header } = this.config;
    const client = (key_header === undefined ? undefined : headers.get(key_header)) ?? this.stream.info.remoteIp;
    if (this.take(`${this.host.name}/${client.slice(0, 200)}`, burst, requests_per_second)) return;
    this.host.counter('limited').inc();
    this.stream.reply({
      status: 429,
      body: 'slow down\n',
      headers: { 'retry-after': String(Math.ceil(1 / requests_per_second)) },
      details: 'rate_limited',
    });
  }

  private take(key: string, burst: number, perSecond: number): boolean {
    try {
      return this.host.shared.takeTokens(key, burst, perSecond);
    } catch (error) {
      if (!(error instanceof SharedDataFull)) throw error;
      // More clients at once than there is memory for: better served than refused.
      this.host.counter('table_full').inc();
      return true;
    }
  }
}
