/**
 * A module may change a body and leave the content-length that was announced: what is too long would be read as another message, what is too
 * short would never end. Such a stream fails instead.
 */
import type { HeaderMap } from '../../../http/header_map.ts';
import { H } from '../../../http/header_names.ts';

export const LENGTH_MISMATCH = 'wasm_body_length_mismatch';

/** Counts what is passed on of one message. */
export class BodyLength {
  private passed = 0;

  reset(): void {
    this.passed = 0;
  }

  /** `bytes` more are passed on. False: they do not fit what the headers say. */
  fits(headers: HeaderMap | null, bytes: number, endStream: boolean): boolean {
    this.passed += bytes;
    const text = headers?.getId(H['content-length']);
    if (text === undefined || !/^\d+$/.test(text)) return true;
    const announced = Number(text);
    return endStream ? this.passed === announced : this.passed <= announced;
  }
}
