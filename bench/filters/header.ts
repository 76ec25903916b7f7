/** Reads a request header and adds one. */
import { type Headers, HttpFilter } from 'sluice/filter';

export default class Header extends HttpFilter {
  override onRequestHeaders(headers: Headers): void {
    headers.set('x-bench', headers.has('x-nothing') ? 'yes' : 'no');
  }
}
