/** A gRPC service of Envoy's API: @grpc/grpc-js with messages as proto JSON, by protobuf-es and Envoy's own descriptors. */
import { fromBinary, fromJson, type JsonValue, toBinary, toJson } from '@bufbuild/protobuf';
import grpc from '@grpc/grpc-js';
import { api } from '../../../src/proxy/config/api/registry.ts';
import { closeAtEnd, type Json } from '../../support/proxy_process.ts';

export interface ServiceCall {
  /** In proto field names. */
  readonly request: Json;
  readonly metadata: grpc.Metadata;
}

/** `handler` gives the response, an error to answer with, or null to never answer. */
export async function envoyService(
  method: `/${string}`,
  requestType: string,
  responseType: string,
  handler: (call: ServiceCall) => Json | Partial<grpc.ServiceError> | null,
): Promise<{ port: number }> {
  const request = api().message(requestType);
  const response = api().message(responseType);
  const { registry } = api();
  const server = new grpc.Server();
  server.addService(
    {
      method: {
        path: method,
        requestStream: false,
        responseStream: false,
        requestSerialize: (value: Buffer) => value,
        requestDeserialize: (bytes: Buffer) =>
          toJson(request, fromBinary(request, bytes), { registry, useProtoFieldName: true }) as Json,
        responseSerialize: (value: Json) => Buffer.from(toBinary(response, fromJson(response, value as JsonValue, { registry }))),
        responseDeserialize: (bytes: Buffer) => bytes,
      },
    },
    {
      method: (call: grpc.ServerUnaryCall<Json, Json>, callback: grpc.sendUnaryData<Json>) => {
        const answer = handler({ request: call.request, metadata: call.metadata });
        if (answer === null) return;
        if ('code' in answer) callback(answer as Partial<grpc.ServiceError>);
        else callback(null, answer as Json);
      },
    },
  );
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
  });
  closeAtEnd(() => server.forceShutdown());
  return { port };
}
