/** The gRPC status of a finished stream (Envoy: Grpc::Common::getGrpcStatus). */

import type { HeaderMap } from '../http/header_map.ts';
import { H } from '../http/header_names.ts';
import type { StreamInfo } from '../stream_info/stream_info.ts';
import type { FormatterContext } from './access_log.ts';

/** By number: Envoy's name, and the name in capitals (which is also the one of GrpcStatusFilter.Status, but for CANCELED). */
export const GRPC_STATUS_NAMES = [
  ['OK', 'OK'],
  ['Canceled', 'CANCELLED'],
  ['Unknown', 'UNKNOWN'],
  ['InvalidArgument', 'INVALID_ARGUMENT'],
  ['DeadlineExceeded', 'DEADLINE_EXCEEDED'],
  ['NotFound', 'NOT_FOUND'],
  ['AlreadyExists', 'ALREADY_EXISTS'],
  ['PermissionDenied', 'PERMISSION_DENIED'],
  ['ResourceExhausted', 'RESOURCE_EXHAUSTED'],
  ['FailedPrecondition', 'FAILED_PRECONDITION'],
  ['Aborted', 'ABORTED'],
  ['OutOfRange', 'OUT_OF_RANGE'],
  ['Unimplemented', 'UNIMPLEMENTED'],
  ['Internal', 'INTERNAL'],
  ['Unavailable', 'UNAVAILABLE'],
  ['DataLoss', 'DATA_LOSS'],
  ['Unauthenticated', 'UNAUTHENTICATED'],
] as const;

export const GRPC_UNKNOWN = 2;

const OF_HTTP_STATUS = new Map([
  [400, 13],
  [401, 16],
  [403, 7],
  [404, 12],
  [429, 14],
  [502, 14],
  [503, 14],
  [504, 14],
]);

/** From the trailers, else the headers (trailers-only), else what the HTTP status stands for. */
export function grpcStatusOf(context: FormatterContext, info: StreamInfo): number | undefined {
  return headerStatus(context.responseTrailers) ?? headerStatus(context.responseHeaders) ?? statusOfHttp(info.responseCode);
}

/** `content-type: application/grpc` with or without a suffix. */
export function isGrpcRequest(headers: HeaderMap | null): boolean {
  const type = headers?.getId(H['content-type']);
  return type?.startsWith('application/grpc') === true && (type.length === 16 || type[16] === '+');
}

function headerStatus(headers: HeaderMap | null): number | undefined {
  const value = headers?.getId(H['grpc-status']);
  return value !== undefined && /^[0-9]{1,9}$/.test(value) ? Number(value) : undefined;
}

function statusOfHttp(code: number): number | undefined {
  return code === 0 ? undefined : (OF_HTTP_STATUS.get(code) ?? GRPC_UNKNOWN);
}
