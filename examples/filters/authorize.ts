/** Asks an authorisation service about every request: what it does not answer with 200 is its answer to the client. */
import { type Headers, HttpFilter, type Infer, schema } from 'sluice/filter';

const config = schema.object({
  cluster: schema.string(),
  path: schema.string().default('/check'),
  timeout: schema.duration({ min: 1 }).default(500),
  /** Headers of the request that the service sees. */
  forward: schema.list(schema.string()).default(['authorization', 'cookie']),
  /** Headers of its answer that the upstream sees. */
  pass_on: schema.list(schema.string()).default(['x-user']),
  /** Let requests pass when the service does not answer. */
  allow_on_failure: schema.boolean().default(false),
});

export default class Authorize extends HttpFilter<Infer<typeof config>> {
  static readonly schema = config;

  override async onRequestHeaders(headers: Headers): Promise<void> {
    const { cluster, path, timeout, forward, pass_on } = this.config;
    const asked: Record<string, string> = {
      'x-original-method': headers.get(':method') ?? '',
      'x-original-path': headers.get(':path') ?? '',
    };
    for (const name of forward) {
      const value = headers.get(name);
      if (value !== undefined) asked[name] = value;
    }
    // A client must not say itself who it is.
    for (const name of pass_on) headers.remove(name);
    const answer = await this.stream.call(cluster, { path, headers: asked, timeoutMs: timeout });
    if (answer.localDetails !== '') {
      this.host.counter('unavailable').inc();
      this.host.log.warn(`no answer from ${cluster}: ${answer.localDetails}`);
      if (!this.config.allow_on_failure) this.stream.reply({ status: 503, body: 'authorisation is not available\n' });
      return;
    }
    if (answer.status !== 200) {
      this.host.counter('denied').inc();
      this.stream.reply({ status: answer.status, body: answer.text(), details: 'denied' });
      return;
    }
    for (const name of pass_on) {
      const value = answer.headers.get(name);
      if (value !== undefined) headers.set(name, value);
    }
  }
}
