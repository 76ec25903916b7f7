/** Initial sequence numbers (RFC 6528): a clock of 4 microseconds plus a keyed hash of the connection's addresses and ports. */
import type { IpAddress } from '../ip/address.ts';
import { sipHash } from './siphash.ts';

const input = new Int32Array(12);

/** Hash of a connection's identity with up to two words of `extra`. */
export function hashTuple(
  key: Int32Array,
  local: IpAddress,
  localPort: number,
  remote: IpAddress,
  remotePort: number,
  extra = 0,
): number {
  input[0] = local.w0;
  input[1] = remote.w0;
  input[2] = (localPort << 16) | remotePort;
  input[3] = extra;
  if (local.isV4) return sipHash(key, input, 4);
  input[4] = local.w1;
  input[5] = local.w2;
  input[6] = local.w3;
  input[7] = remote.w1;
  input[8] = remote.w2;
  input[9] = remote.w3;
  return sipHash(key, input, 10);
}

export function initialSequenceNumber(
  key: Int32Array,
  local: IpAddress,
  localPort: number,
  remote: IpAddress,
  remotePort: number,
  nowUs: number,
): number {
  return (hashTuple(key, local, localPort, remote, remotePort) + Math.floor(nowUs / 4)) | 0;
}
