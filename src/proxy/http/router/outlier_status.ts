/** What outlier detection counts a gRPC response as: a status that is in its headers, as the HTTP status it stands for. */
import type { HeaderMap } from '../header_map.ts';
import { H } from '../header_names.ts';

/** By gRPC status (Envoy: Grpc::Utility::grpcToHttpStatus). */
const HTTP_STATUS = [200, 499, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401];

export function outlierStatus(status: number, headers: HeaderMap): number {
  const text = headers.getId(H['grpc-status']);
  if (text === undefined) return status;
  return HTTP_STATUS[Number(text)] ?? 500;
}
