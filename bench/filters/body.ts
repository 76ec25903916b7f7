/** Looks at every byte of response bodies, where they lie. */
import { type Body, HttpFilter } from 'sluice/filter';

export default class BodySum extends HttpFilter {
  private sum = 0;

  override onResponseData(data: Body): void {
    data.forEachSlice((bytes) => {
      let sum = this.sum;
      for (let i = 0; i < bytes.length; i++) sum = (sum + bytes[i]) | 0;
      this.sum = sum;
    });
  }
}
