/**
 * Operators on TLS facts (Envoy: DOWNSTREAM_TLS_*, *_PEER_*, *_LOCAL_*, UPSTREAM_TLS_*). A plain connection has none of them. Lists are
 * joined by commas. Fingerprints of hellos (JA3, JA4) are known when the TLS inspector takes them.
 */
import { byteText } from '../common/byte_text.ts';
import { type SslCertificate, type SslConnectionInfo, urlEncodedPem } from '../network/connection.ts';
import type { StreamInfo } from '../stream_info/stream_info.ts';
import { dateFormatter } from './date_formatter.ts';
import { type OperatorDefinition, Syntax, simple, type TextValue } from './operator.ts';

type Side = (info: StreamInfo) => SslConnectionInfo | null;

const downstream: Side = (info) => info.downstreamSsl;
const upstream: Side = (info) => info.upstreamSsl;
const peer = (ssl: SslConnectionInfo): SslCertificate | null => ssl.peerCertificate;
const local = (ssl: SslConnectionInfo): SslCertificate | null => ssl.localCertificate;

export const TLS_OPERATORS: Record<string, OperatorDefinition> = {
  TLS_JA3_FINGERPRINT: simple((_, info) => some(info.helloFingerprints?.ja3 ?? '')),
  TLS_JA4_FINGERPRINT: simple((_, info) => some(info.helloFingerprints?.ja4 ?? '')),
  ...connectionFacts('DOWNSTREAM', downstream),
  ...connectionFacts('UPSTREAM', upstream),
  ...sans('DOWNSTREAM_PEER', downstream, peer, true),
  ...sans('DOWNSTREAM_LOCAL', downstream, local, true),
  ...sans('UPSTREAM_PEER', upstream, peer, false),
  ...sans('UPSTREAM_LOCAL', upstream, local, false),
  DOWNSTREAM_LOCAL_SUBJECT: ofCertificate(downstream, local, (certificate) => certificate.subject),
  DOWNSTREAM_PEER_FINGERPRINT_256: ofCertificate(downstream, peer, (certificate) => certificate.sha256),
  DOWNSTREAM_PEER_FINGERPRINT_1: ofCertificate(downstream, peer, (certificate) => certificate.sha1),
  DOWNSTREAM_PEER_SERIAL: ofCertificate(downstream, peer, (certificate) => certificate.serialNumber),
  DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_256: ofChain((certificate) => certificate.sha256),
  DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_1: ofChain((certificate) => certificate.sha1),
  DOWNSTREAM_PEER_CHAIN_SERIALS: ofChain((certificate) => certificate.serialNumber),
};

function connectionFacts(prefix: string, side: Side): Record<string, OperatorDefinition> {
  const of = (get: (ssl: SslConnectionInfo) => string): OperatorDefinition =>
    simple((_, info) => {
      const ssl = side(info);
      return ssl === null ? undefined : some(get(ssl));
    });
  return {
    [`${prefix}_TLS_CIPHER`]: of((ssl) => ssl.cipher),
    [`${prefix}_TLS_VERSION`]: of((ssl) => ssl.version),
    [`${prefix}_TLS_SESSION_ID`]: of((ssl) => ssl.sessionId),
    [`${prefix}_PEER_ISSUER`]: ofCertificate(side, peer, (certificate) => certificate.issuer),
    [`${prefix}_PEER_SUBJECT`]: ofCertificate(side, peer, (certificate) => certificate.subject),
    [`${prefix}_PEER_CERT`]: ofCertificate(side, peer, urlEncodedPem),
    [`${prefix}_PEER_CERT_V_START`]: time(side, (certificate) => certificate.validFromMs),
    [`${prefix}_PEER_CERT_V_END`]: time(side, (certificate) => certificate.expirationMs),
  };
}

function sans(
  prefix: string,
  side: Side,
  which: (ssl: SslConnectionInfo) => SslCertificate | null,
  all: boolean,
): Record<string, OperatorDefinition> {
  const list = (get: (certificate: SslCertificate) => readonly string[]): OperatorDefinition =>
    ofCertificate(side, which, (certificate) => byteText(get(certificate).join(',')));
  const operators = {
    [`${prefix}_URI_SAN`]: list((certificate) => certificate.uriSans),
    [`${prefix}_DNS_SAN`]: list((certificate) => certificate.dnsSans),
    [`${prefix}_IP_SAN`]: list((certificate) => certificate.ipSans),
  };
  if (!all) return operators;
  return {
    ...operators,
    [`${prefix}_EMAIL_SAN`]: list((certificate) => certificate.emailSans),
    [`${prefix}_OTHERNAME_SAN`]: list((certificate) => certificate.otherNameSans),
  };
}

function ofCertificate(
  side: Side,
  which: (ssl: SslConnectionInfo) => SslCertificate | null,
  get: (certificate: SslCertificate) => string,
): OperatorDefinition {
  return simple((_, info): TextValue => {
    const ssl = side(info);
    const certificate = ssl === null ? null : which(ssl);
    return certificate === null ? undefined : some(byteText(get(certificate)));
  });
}

function ofChain(get: (certificate: SslCertificate) => string): OperatorDefinition {
  return simple((_, info) => {
    const chain = info.downstreamSsl?.peerCertificateChain ?? [];
    return chain.length === 0 ? undefined : chain.map(get).join(',');
  });
}

function time(side: Side, get: (certificate: SslCertificate) => number): OperatorDefinition {
  return {
    syntax: Syntax.ParamsOptional,
    create(params) {
      const date = dateFormatter(byteText(params), false);
      return {
        text: (_, info) => {
          const certificate = side(info)?.peerCertificate ?? null;
          return certificate === null ? date.format(Number.NaN) : date.format(get(certificate));
        },
      };
    },
  };
}

function some(text: string): string | undefined {
  return text === '' ? undefined : text;
}
