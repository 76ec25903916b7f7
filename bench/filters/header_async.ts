/** Adds a request header after a promise. */
import { type Headers, HttpFilter } from 'sluice/filter';

export default class HeaderAsync extends HttpFilter {
  override async onRequestHeaders(headers: Headers): Promise<void> {
    await undefined;
    headers.set('x-bench', 'no');
  }
}
