/**
 * Replaces a text in response bodies while they stream through: the end of each piece that may be the beginning of a match waits for the
 * next one, so nothing is held back longer than it must be.
 */
import { type Body, type Headers, HttpFilter, type Infer, schema } from 'sluice/filter';

const config = schema.object({
  find: schema.string().refine((text) => text !== '', 'must not be empty'),
  replace: schema.string(),
  types: schema.list(schema.string()).default(['text/']),
});

export default class ReplaceText extends HttpFilter<Infer<typeof config>> {
  static readonly schema = config;
  private active = false;
  private rest: Uint8Array = new Uint8Array();

  override onResponseHeaders(headers: Headers, endStream: boolean): void {
    const type = headers.get('content-type') ?? '';
    this.active = !endStream && !headers.has('content-encoding') && this.config.types.some((prefix) => type.startsWith(prefix));
    // The length is not known before the end.
    if (this.active) headers.remove('content-length');
  }

  override onResponseData(data: Body, endStream: boolean): void {
    if (!this.active) return;
    const find = Buffer.from(this.config.find);
    const input = Buffer.concat([this.rest, data.bytes()]);
    const output: Uint8Array[] = [];
    let from = 0;
    for (let at = input.indexOf(find); at >= 0; at = input.indexOf(find, from)) {
      output.push(input.subarray(from, at), Buffer.from(this.config.replace));
      from = at + find.length;
    }
    const keep = endStream ? 0 : beginningOf(find, input.subarray(from));
    output.push(input.subarray(from, input.length - keep));
    this.rest = input.subarray(input.length - keep);
    data.set(Buffer.concat(output));
  }

  /** With trailers, the last piece of the body did not know that it was the last. */
  override onResponseTrailers(): void {
    if (this.active && this.rest.length > 0) this.stream.addResponseData(this.rest);
  }
}

/** How many of the last bytes could begin a match. */
function beginningOf(find: Buffer, bytes: Buffer): number {
  for (let length = Math.min(find.length - 1, bytes.length); length > 0; length--) {
    if (bytes.subarray(bytes.length - length).equals(find.subarray(0, length))) return length;
  }
  return 0;
}
