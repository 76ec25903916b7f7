/** TLS pieces of a bootstrap, and clients that tell what a handshake settled. */
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { type ConnectionOptions, connect, type PeerCertificate, type TLSSocket } from 'node:tls';
import type { TestCertificate } from '../../support/certificates.ts';
import type { Json } from '../../support/proxy_process.ts';

const TYPES = 'type.googleapis.com/envoy.extensions.transport_sockets';

export function files(certificate: TestCertificate): Json {
  return { certificate_chain: { filename: certificate.certificateFile }, private_key: { filename: certificate.keyFile } };
}

export function downstreamTls(certificates: Json[], common: Json = {}, extra: Json = {}): Json {
  return {
    name: 'tls',
    typed_config: {
      '@type': `${TYPES}.tls.v3.DownstreamTlsContext`,
      common_tls_context: { tls_certificates: certificates, ...common },
      ...extra,
    },
  };
}

export function upstreamTls(common: Json = {}, extra: Json = {}): Json {
  return {
    name: 'tls',
    typed_config: { '@type': `${TYPES}.tls.v3.UpstreamTlsContext`, common_tls_context: common, ...extra },
  };
}

/** Connects; rejects when the handshake fails. */
export async function tlsConnect(
  port: number,
  options: ConnectionOptions & { allowHalfOpen?: boolean } = {},
): Promise<TLSSocket> {
  const socket = connect({ host: '127.0.0.1', port, rejectUnauthorized: false, ...options });
  await once(socket, 'secureConnect');
  return socket;
}

/** All that comes until the end. */
export async function readToEnd(socket: Socket): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of socket) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

/** One request over TLS on a connection of its own, raw: the response's text and what the handshake settled. */
export async function tlsGet(
  port: number,
  options: ConnectionOptions = {},
  request = 'GET / HTTP/1.1\r\nhost: a.example\r\nconnection: close\r\n\r\n',
): Promise<{ text: string; peer: PeerCertificate; version: string | null; reused: boolean }> {
  const socket = await tlsConnect(port, options);
  const facts = { peer: socket.getPeerCertificate(), version: socket.getProtocol(), reused: socket.isSessionReused() };
  socket.write(request);
  return { text: (await readToEnd(socket)).toString('latin1'), ...facts };
}
