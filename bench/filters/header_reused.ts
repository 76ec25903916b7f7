/** Reads a request header and adds one; one object serves all streams of its place in a chain. */
import { type Headers, HttpFilter } from 'sluice/filter';

export default class HeaderReused extends HttpFilter {
  reset(): void {}

  override onRequestHeaders(headers: Headers): void {
    headers.set('x-bench', headers.has('x-nothing') ? 'yes' : 'no');
  }
}
