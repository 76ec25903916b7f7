/**
 * x-forwarded-client-cert (Envoy: mutateXfccRequestHeader): what the client proved with its certificate, for the upstream. Elements of
 * several proxies are joined by commas, the pairs of one by semicolons.
 */
import { byteText } from '../../common/byte_text.ts';
import { type SslConnectionInfo, urlEncodedPem } from '../../network/connection.ts';
import type { HeaderMap } from '../header_map.ts';
import { H } from '../header_names.ts';
import { appendIdText } from './header_bytes.ts';

export type ForwardClientCert = 'SANITIZE' | 'FORWARD_ONLY' | 'APPEND_FORWARD' | 'SANITIZE_SET' | 'ALWAYS_FORWARD_ONLY';

/** What is said of the certificate besides its hash. */
export interface ClientCertDetails {
  readonly subject: boolean;
  readonly cert: boolean;
  readonly chain: boolean;
  readonly dns: boolean;
  readonly uri: boolean;
}

export const NO_DETAILS: ClientCertDetails = { subject: false, cert: false, chain: false, dns: false, uri: false };

/** A connection and its element. */
export interface ClientCertSource {
  readonly connection: { readonly ssl: SslConnectionInfo | null };
  clientCert(): string;
}

export function mutateClientCert(headers: HeaderMap, mode: ForwardClientCert, source: ClientCertSource): void {
  if (mode === 'ALWAYS_FORWARD_ONLY') return;
  const id = H['x-forwarded-client-cert'];
  const { ssl } = source.connection;
  if (mode === 'SANITIZE' || ssl === null || !ssl.peerCertificatePresented) {
    if (headers.hasId(id)) headers.removeId(id);
  } else if (mode === 'APPEND_FORWARD' && headers.hasId(id)) appendIdText(headers, id, source.clientCert(), ',');
  else if (mode !== 'FORWARD_ONLY') headers.setId(id, source.clientCert());
}

export function clientCertElement(ssl: SslConnectionInfo, details: ClientCertDetails): string {
  const peer = ssl.peerCertificate;
  if (peer === null) return '';
  const pairs: string[] = [];
  for (const uri of ssl.localCertificate?.uriSans ?? []) pairs.push(`By=${uri}`);
  pairs.push(`Hash=${peer.sha256}`);
  if (details.cert) pairs.push(`Cert="${urlEncodedPem(peer)}"`);
  if (details.chain) pairs.push(`Chain="${ssl.peerCertificateChain.map(urlEncodedPem).join('')}"`);
  if (details.subject) pairs.push(`Subject="${peer.subject.replaceAll('"', '\\"')}"`);
  if (details.uri) pairs.push(...(peer.uriSans.length === 0 ? ['URI='] : peer.uriSans.map((uri) => `URI=${uri}`)));
  if (details.dns) pairs.push(...peer.dnsSans.map((dns) => `DNS=${dns}`));
  return visible(byteText(pairs.join(';')));
}

/** Certificates may hold anything; a header may not. */
function visible(text: string): string {
  return text.replace(/[\x00-\x1f\x7f]/g, (c) => `%${c.charCodeAt(0).toString(16).padStart(2, '0').toUpperCase()}`);
}
