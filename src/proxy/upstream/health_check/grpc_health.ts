/** The two messages of grpc.health.v1 that a check needs, as gRPC frames: one string out, one enum in. */
import { ProtoReader, WireError } from '../../common/protobuf_reader.ts';
import { ProtoWriter } from '../../common/protobuf_writer.ts';

/** `HealthCheckResponse.ServingStatus` */
export const SERVING = 1;

const FRAME_HEAD = 5;

/** `HealthCheckRequest{service}` */
export function checkRequest(service: string): Buffer {
  const message = new ProtoWriter();
  message.text(1, service);
  const head = Buffer.alloc(FRAME_HEAD);
  head.writeUInt32BE(message.size, 1);
  return Buffer.concat([head, message.bytes]);
}

/** The status of the one uncompressed `HealthCheckResponse`; null: that is not what the bytes are. */
export function readCheckResponse(bytes: Buffer): number | null {
  if (bytes.length < FRAME_HEAD || bytes[0] !== 0 || bytes.readUInt32BE(1) !== bytes.length - FRAME_HEAD) return null;
  const reader = new ProtoReader(bytes.subarray(FRAME_HEAD));
  let status = 0;
  try {
    while (reader.next()) {
      if (reader.field === 1) status = reader.int();
      else reader.skip();
    }
  } catch (error) {
    if (!(error instanceof WireError)) throw error;
    return null;
  }
  return status;
}
