/** Random ids of traces and spans, as hexadecimal text. */
import { random32 } from '../http/conn_manager/uuid.ts';

export const NO_SPAN = '0000000000000000';

/** Eight bytes, never all zero. */
export function randomSpanId(): string {
  const id = word() + word();
  return id === NO_SPAN ? '0000000000000001' : id;
}

export function randomTraceId(): string {
  return randomSpanId() + randomSpanId();
}

function word(): string {
  return random32().toString(16).padStart(8, '0');
}

export function isHex(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (!((c >= 48 && c <= 57) || (c >= 97 && c <= 102))) return false;
  }
  return text.length > 0;
}
