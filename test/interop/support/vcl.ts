/** Pieces of a bootstrap on the host stack, and servers and clients that are there too. */
import { once } from 'node:events';
import { createServer, type RequestListener, request, type Server } from 'node:http';
import { attach, createHostStack, type EmbeddedHostStack, type VclNet } from '../../../src/stack/index.ts';
import { closeAtEnd, type Json } from '../../support/proxy_process.ts';
import { echo } from './upstreams.ts';

export const VCL = 'envoy.extensions.vcl.vcl_socket_interface';

/** Metadata of a listener or cluster that is to be on the host stack. */
export const onVcl: Json = { metadata: { filter_metadata: { 'sluice.socket_interface': { name: VCL } } } };

/** What a bootstrap needs besides listeners and clusters. */
export function vclExtension(options: Json, isDefault = false): Json {
  return {
    bootstrap_extensions: [
      {
        name: VCL,
        typed_config: { '@type': 'type.googleapis.com/sluice.extensions.vcl.v1.HostStackSocketInterface', ...options },
      },
    ],
    ...(isDefault && { default_socket_interface: VCL }),
  };
}

export interface StackAndApp {
  stack: EmbeddedHostStack;
  net: VclNet;
  close(): Promise<void>;
}

/** A stack in a thread of this process, and this thread as an application of it. */
export async function startStack(name = 'test'): Promise<StackAndApp> {
  const stack = await createHostStack();
  const net = await attach({ name, runtimeDir: stack.runtimeDir });
  let closed = false;
  const close = async (): Promise<void> => {
    if (closed) return;
    closed = true;
    net.close();
    await stack.close();
  };
  closeAtEnd(() => void close());
  return { stack, net, close };
}

/** An HTTP server on the host stack; answers what it got. */
export async function vclUpstream(
  net: VclNet,
  handler: RequestListener = echo,
  port = 0,
): Promise<{ port: number; server: Server; close(): void }> {
  const server = createServer({ keepAliveTimeout: 60_000, requestTimeout: 0 }, handler);
  const listener = net.serve(server);
  listener.listen(port, '127.0.0.1');
  await once(listener, 'listening');
  const close = (): void => {
    listener.close();
    server.closeAllConnections();
  };
  closeAtEnd(close);
  return { port: listener.address()!.port, server, close };
}

/** One request over the host stack. */
export function vclRequest(
  net: VclNet,
  port: number,
  path: string,
  options: { method?: string; body?: Buffer; agent?: ReturnType<VclNet['createAgent']> } = {},
): Promise<{ status: number; headers: Record<string, unknown>; body: string }> {
  const { method = 'GET', body, agent = net.createAgent() } = options;
  return new Promise((resolve, reject) => {
    const call = request({ host: '127.0.0.1', port, path, method, agent }, (response) => {
      const parts: Buffer[] = [];
      response.on('data', (part: Buffer) => parts.push(part));
      response.on('end', () =>
        resolve({ status: response.statusCode!, headers: response.headers, body: Buffer.concat(parts).toString() }),
      );
      response.on('error', reject);
    });
    call.on('error', reject);
    call.end(body);
  });
}
