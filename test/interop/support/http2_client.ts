/** node:http2 as a client of the proxy: one request as a promise, and the session behind it. */
import { once } from 'node:events';
import http2, { type ClientHttp2Session, type ClientHttp2Stream, type IncomingHttpHeaders } from 'node:http2';
import { closeAtEnd } from '../../support/proxy_process.ts';

export interface Http2Answer {
  status: number;
  headers: IncomingHttpHeaders;
  body: Buffer;
  trailers: IncomingHttpHeaders;
}

export async function http2Session(port: number, options: http2.ClientSessionOptions = {}): Promise<ClientHttp2Session> {
  const session = http2.connect(`http://127.0.0.1:${port}`, options);
  closeAtEnd(() => session.destroy());
  session.on('error', () => {});
  await once(session, 'connect');
  return session;
}

/** Sends a request with a body and trailers, and waits for the whole response. Rejects with the stream's error. */
export function http2Request(
  session: ClientHttp2Session,
  headers: http2.OutgoingHttpHeaders,
  body?: Buffer | string,
  trailers?: http2.OutgoingHttpHeaders,
): Promise<Http2Answer> {
  const stream = session.request(headers, {
    endStream: body === undefined && trailers === undefined,
    waitForTrailers: trailers !== undefined,
  });
  if (trailers !== undefined) stream.on('wantTrailers', () => stream.sendTrailers(trailers));
  if (body !== undefined || trailers !== undefined) stream.end(body);
  return http2Answer(stream);
}

export function http2Answer(stream: ClientHttp2Stream): Promise<Http2Answer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let headers: IncomingHttpHeaders = {};
    let trailers: IncomingHttpHeaders = {};
    stream.on('response', (received) => {
      headers = received;
    });
    stream.on('trailers', (received) => {
      trailers = received;
    });
    stream.on('data', (chunk: Buffer) => chunks.push(chunk));
    stream.on('error', reject);
    stream.on('close', () => {
      if (stream.rstCode !== 0) reject(new Error(`reset with ${stream.rstCode}`));
      else resolve({ status: Number(headers[':status']), headers, body: Buffer.concat(chunks), trailers });
    });
  });
}
