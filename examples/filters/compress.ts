/**
 * Compresses responses with brotli or gzip, piece by piece as they come. zlib works on Node's threads: while a piece is compressed, only
 * this response waits.
 */
import { type BrotliCompress, constants, createBrotliCompress, createGzip, type Gzip } from 'node:zlib';
import { type Body, type Headers, HttpFilter, type Infer, schema } from 'sluice/filter';

const config = schema.object({
  /** In the order they are preferred. */
  encodings: schema.list(schema.oneOf('br', 'gzip')).default(['br', 'gzip']),
  /** Beginnings of content types. */
  types: schema.list(schema.string()).default(['text/', 'application/json', 'application/javascript', 'image/svg+xml']),
  min_length: schema.integer({ min: 0 }).default(30),
});

export default class Compress extends HttpFilter<Infer<typeof config>> {
  static readonly schema = config;
  private accepted = '';
  private isHead = false;
  private compressor: Compressor | null = null;

  override onRequestHeaders(headers: Headers): void {
    this.accepted = headers.get('accept-encoding') ?? '';
    this.isHead = headers.get(':method') === 'HEAD';
  }

  override onResponseHeaders(headers: Headers, endStream: boolean): void {
    if (!this.isCompressible(headers)) return;
    headers.append('vary', 'Accept-Encoding');
    const encoding = this.config.encodings.find((name) => accepts(this.accepted, name));
    if (encoding === undefined || endStream || this.isHead) return;
    headers.set('content-encoding', encoding);
    headers.remove('content-length');
    headers.remove('accept-ranges');
    const etag = headers.get('etag');
    if (etag !== undefined && !etag.startsWith('W/')) headers.set('etag', `W/${etag}`);
    this.compressor = new Compressor(encoding);
    this.host.counter(`compressed_${encoding}`).inc();
  }

  override onResponseData(data: Body, endStream: boolean): Promise<void> | undefined {
    return this.compressor === null ? undefined : this.compress(this.compressor, data, endStream);
  }

  private async compress(compressor: Compressor, data: Body, endStream: boolean): Promise<void> {
    data.set(await compressor.push(data.bytes(), endStream));
  }

  /** With trailers, the last piece of the body did not know that it was the last. */
  override async onResponseTrailers(): Promise<void> {
    if (this.compressor !== null) this.stream.addResponseData(await this.compressor.push(new Uint8Array(), true));
  }

  override onDestroy(): void {
    this.compressor?.destroy();
  }

  private isCompressible(headers: Headers): boolean {
    const status = Number(headers.get(':status'));
    if (status < 200 || status === 204 || status === 206 || status === 304) return false;
    if (headers.has('content-encoding') || /\bno-transform\b/.test(headers.get('cache-control') ?? '')) return false;
    const length = headers.get('content-length');
    if (length !== undefined && Number(length) < this.config.min_length) return false;
    const type = headers.get('content-type') ?? '';
    return this.config.types.some((prefix) => type.startsWith(prefix));
  }
}

/** True when `accept-encoding` allows it: named, or `*`, and not with `q=0`. */
function accepts(header: string, encoding: string): boolean {
  let any = false;
  for (const part of header.split(',')) {
    const [name, ...parameters] = part.split(';').map((text) => text.trim());
    const refused = parameters.some((parameter) => /^q=0(\.0*)?$/.test(parameter));
    if (name === encoding) return !refused;
    if (name === '*') any = !refused;
  }
  return any;
}

class Compressor {
  private readonly stream: Gzip | BrotliCompress;
  private output: Buffer[] = [];

  constructor(encoding: 'br' | 'gzip') {
    this.stream =
      encoding === 'gzip' ? createGzip({ level: 6 }) : createBrotliCompress({ params: { [constants.BROTLI_PARAM_QUALITY]: 4 } });
    this.stream.on('data', (chunk: Buffer) => this.output.push(chunk));
  }

  /** What the bytes are compressed, up to the last one, so that the client can show them. */
  async push(bytes: Uint8Array, end: boolean): Promise<Uint8Array> {
    const { stream } = this;
    await new Promise<void>((resolve, reject) => {
      stream.once('error', reject);
      const done = (): void => {
        stream.removeListener('error', reject);
        resolve();
      };
      if (bytes.length > 0) stream.write(bytes);
      if (end) {
        stream.once('end', done);
        stream.end();
      } else stream.flush(done);
    });
    const compressed = Buffer.concat(this.output);
    this.output = [];
    return compressed;
  }

  destroy(): void {
    this.stream.destroy();
  }
}
