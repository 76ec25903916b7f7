/** Asks an authorization service by gRPC: `envoy.service.auth.v3.Authorization/Check`. */
import { WireError } from '../../../common/protobuf_reader.ts';
import type { GrpcServiceConfig } from '../../../grpc/grpc_service.ts';
import { GrpcUnaryClient } from '../../../grpc/unary_client.ts';
import type { AsyncRequest } from '../../../http/async_client.ts';
import type { HeaderMap } from '../../../http/header_map.ts';
import type { FactoryContext } from '../../../server/factory_context.ts';
import type { StreamInfo } from '../../../stream_info/stream_info.ts';
import { type Authorization, type AuthorizationCallbacks, newAuthorization } from './authorization.ts';
import { readCheckResponse } from './check_request.ts';

const DEFAULT_TIMEOUT_MS = 200;

export class GrpcAuthorizationClient {
  private readonly client: GrpcUnaryClient;

  constructor(config: GrpcServiceConfig, context: FactoryContext) {
    this.client = new GrpcUnaryClient(config, '/envoy.service.auth.v3.Authorization/Check', DEFAULT_TIMEOUT_MS, context);
  }

  /** Null: it is over already, and the callback has been called. */
  check(
    request: Uint8Array,
    info: StreamInfo,
    headers: HeaderMap | null,
    callbacks: AuthorizationCallbacks,
  ): AsyncRequest | null {
    return this.client.call(request, info, headers, {
      onMessage: (message) => callbacks.onAuthorization(read(message)),
      onFailure: () => callbacks.onAuthorization(newAuthorization('error')),
    });
  }
}

function read(message: Uint8Array): Authorization {
  try {
    return readCheckResponse(message);
  } catch (error) {
    if (error instanceof WireError) return newAuthorization('error');
    throw error;
  }
}
