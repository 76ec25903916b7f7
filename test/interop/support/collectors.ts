/** Receivers of what the proxy sends by itself: HTTP collectors of node:http, gRPC ones of @grpc/grpc-js. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type handleUnaryCall, Server, ServerCredentials, status } from '@grpc/grpc-js';
import { closeAtEnd } from '../../support/proxy_process.ts';

export interface Received {
  readonly path: string;
  readonly headers: Record<string, string | string[] | undefined>;
  readonly body: Buffer;
}

export interface HttpCollector {
  readonly port: number;
  readonly received: Received[];
  /** Answered to what comes from now on; 0: nothing. */
  status: number;
  close(): void;
}

export async function httpCollector(answer = 200): Promise<HttpCollector> {
  const received: Received[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      received.push({ path: request.url!, headers: request.headers, body: Buffer.concat(chunks) });
      if (collector.status !== 0) response.writeHead(collector.status).end();
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const collector: HttpCollector = {
    port: (server.address() as AddressInfo).port,
    received,
    status: answer,
    close: () => {
      server.closeAllConnections();
      server.close();
    },
  };
  closeAtEnd(collector.close);
  return collector;
}

export interface GrpcCollector {
  readonly port: number;
  /** Messages in the order they came. */
  readonly messages: Buffer[];
  readonly metadata: Record<string, unknown>[];
  /** Streams that were opened. */
  streams: number;
  /** Ends streams and refuses calls with UNAVAILABLE while it is false. */
  up: boolean;
  close(): void;
}

/** One method, a unary one or one with a stream of requests. */
export async function grpcCollector(path: string, streaming: boolean): Promise<GrpcCollector> {
  const server = new Server();
  const open = new Set<() => void>();
  const collector: GrpcCollector = {
    port: 0,
    messages: [],
    metadata: [],
    streams: 0,
    up: true,
    close: () => server.forceShutdown(),
  };
  const definition = {
    path,
    requestStream: streaming,
    responseStream: false,
    requestSerialize: (value: Buffer) => value,
    requestDeserialize: (value: Buffer) => value,
    responseSerialize: (value: Buffer) => value,
    responseDeserialize: (value: Buffer) => value,
  };
  server.addService(
    { method: definition },
    {
      method: ((call: never, callback: (error: object | null, value?: Buffer) => void) => {
        const { metadata } = call as { metadata: { getMap(): Record<string, unknown> } };
        collector.metadata.push(metadata.getMap());
        collector.streams++;
        if (!collector.up) {
          callback({ code: status.UNAVAILABLE, details: 'down' });
          return;
        }
        if (!streaming) {
          collector.messages.push((call as { request: Buffer }).request);
          callback(null, Buffer.alloc(0));
          return;
        }
        const stream = call as { on(event: string, listener: (value: Buffer) => void): void };
        const end = (): void => callback({ code: status.UNAVAILABLE, details: 'down' });
        open.add(end);
        stream.on('data', (message) => collector.messages.push(message));
        stream.on('end', () => {
          open.delete(end);
          callback(null, Buffer.alloc(0));
        });
        stream.on('error', () => {});
      }) as handleUnaryCall<Buffer, Buffer>,
    },
  );
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
  });
  closeAtEnd(collector.close);
  return Object.assign(collector, { port });
}
