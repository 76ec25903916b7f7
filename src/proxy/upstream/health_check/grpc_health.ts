/** The two messages of grpc.health.v1 that a check needs, as gRPC frames: one string out, one enum in. */

/** `HealthCheckResponse.ServingStatus` */
export const SERVING = 1;

const STRING_FIELD_1 = 0x0a;
const FRAME_HEAD = 5;

/** `HealthCheckRequest{service}` */
export function checkRequest(service: string): Buffer {
  const name = Buffer.from(service, 'utf8');
  const message = name.length === 0 ? name : Buffer.concat([Buffer.from([STRING_FIELD_1, ...varint(name.length)]), name]);
  const head = Buffer.alloc(FRAME_HEAD);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

/** The status of the one uncompressed `HealthCheckResponse`; null: that is not what the bytes are. */
export function readCheckResponse(bytes: Buffer): number | null {
  if (bytes.length < FRAME_HEAD || bytes[0] !== 0 || bytes.readUInt32BE(1) !== bytes.length - FRAME_HEAD) return null;
  let status = 0;
  let at = FRAME_HEAD;
  const next = (): number | null => {
    let value = 0;
    for (let shift = 0; shift < 70 && at < bytes.length; shift += 7) {
      const byte = bytes[at++];
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
    return null;
  };
  while (at < bytes.length) {
    const tag = next();
    if (tag === null) return null;
    const wire = tag & 7;
    const value = wire === 0 || wire === 2 ? next() : wire === 1 ? 8 : wire === 5 ? 4 : null;
    if (value === null) return null;
    if (tag === 0x08) status = value;
    // Fields that are not known are skipped.
    if (wire !== 0) at += value;
    if (at > bytes.length) return null;
  }
  return status;
}

function varint(value: number): number[] {
  const bytes: number[] = [];
  for (; value > 0x7f; value >>>= 7) bytes.push((value & 0x7f) | 0x80);
  bytes.push(value);
  return bytes;
}
