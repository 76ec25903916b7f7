/**
 * OCSP responses to staple (RFC 6960 4.2.1, RFC 6066 8, RFC 7633) and when a certificate may be used with the one it has (Envoy:
 * OcspResponseWrapperImpl, DefaultTlsCertificateSelector::ocspStapleAction). As there, a response comes from a source that is trusted:
 * its signature and the status it gives are not looked at. A response without `nextUpdate` counts as expired.
 */
import { children, type Element, element, hex, oid, serialHex, time } from './der.ts';
import { TlsConfigError } from './errors.ts';

export type OcspStaplePolicy = 'LENIENT_STAPLING' | 'STRICT_STAPLING' | 'MUST_STAPLE';

/** What is done for a client that asks for a response: staple, go on without, or do not use the certificate. */
export type StapleAction = 'staple' | 'omit' | 'fail';

export interface OcspResponse {
  readonly der: Uint8Array;
  /** Of the certificate it is about, as `Certificate.serialNumber`. */
  readonly serialNumber: string;
  /** NaN: it says none. */
  readonly nextUpdateMs: number;
}

const SEQUENCE = 0x30;
const OCTET_STRING = 0x04;
const ENUMERATED = 0x0a;
const INTEGER = 0x02;
const GENERALIZED_TIME = 0x18;
const RESPONDER_BY_NAME = 0xa1;
const RESPONDER_BY_KEY = 0xa2;
/** `[0]` good, `[1]` revoked, `[2]` unknown. */
const CERT_STATUSES: readonly number[] = [0x80, 0xa1, 0x82];
const EXPLICIT_0 = 0xa0;
const OID_BASIC_RESPONSE = '1.3.6.1.5.5.7.48.1.1';

/** Throws TlsConfigError. */
export function parseOcspResponse(der: Uint8Array): OcspResponse {
  const outer = sequence(der, element(der, 0, der.length), 'Response');
  if (outer.end !== der.length) throw new TlsConfigError('Data contained more than a single OCSP response');
  const [status, wrapped] = children(der, outer);
  if (status?.tag !== ENUMERATED) throw new TlsConfigError('OCSP ResponseStatus is not a well-formed ASN.1 ENUMERATED');
  if (hex(der.subarray(status.start, status.end)) !== '00') throw new TlsConfigError('OCSP response was unsuccessful');
  if (wrapped?.tag !== EXPLICIT_0) throw new TlsConfigError('OCSP response has no body');
  const [type, body] = children(der, sequence(der, children(der, wrapped)[0], 'ResponseBytes'));
  if (type === undefined || oid(der, type) !== OID_BASIC_RESPONSE) {
    throw new TlsConfigError(`Unknown OCSP Response type with OID: ${type === undefined ? '' : oid(der, type)}`);
  }
  if (body?.tag !== OCTET_STRING) throw new TlsConfigError('Expected ASN.1 OCTETSTRING for response');
  const basic = sequence(der, element(der, body.start, body.end), 'BasicOCSPResponse');
  return { der, ...singleResponse(der, sequence(der, children(der, basic)[0], 'ResponseData')) };
}

function singleResponse(der: Uint8Array, data: Element): { serialNumber: string; nextUpdateMs: number } {
  const parts = children(der, data);
  const version = parts[0]?.tag === EXPLICIT_0 ? parts.shift() : undefined;
  if (version !== undefined && hex(der.subarray(version.start, version.end)) !== '020100') {
    throw new TlsConfigError('OCSP ResponseData has a version that is not supported');
  }
  const [responder, producedAt, responses] = parts;
  if (responder?.tag !== RESPONDER_BY_NAME && responder?.tag !== RESPONDER_BY_KEY) {
    throw new TlsConfigError(`Unknown choice for Responder ID: ${responder?.tag ?? 'none'}`);
  }
  if (producedAt?.tag !== GENERALIZED_TIME) throw new TlsConfigError('OCSP ResponseData has no producedAt');
  const singles = children(der, sequence(der, responses, 'ResponseData.responses'));
  if (singles.length !== 1) throw new TlsConfigError('OCSP Response must be for one certificate only');
  const [certId, status, thisUpdate, next] = children(der, sequence(der, singles[0], 'SingleResponse'));
  const serial = children(der, sequence(der, certId, 'CertID'))[3];
  if (serial?.tag !== INTEGER) throw new TlsConfigError('OCSP CertID has no serial number');
  if (status === undefined || !CERT_STATUSES.includes(status.tag)) {
    throw new TlsConfigError(`Unknown OcspCertStatus tag: ${status?.tag ?? 'none'}`);
  }
  if (thisUpdate?.tag !== GENERALIZED_TIME || Number.isNaN(time(der, thisUpdate))) {
    throw new TlsConfigError('OCSP SingleResponse has no thisUpdate');
  }
  const nextUpdateMs = next?.tag === EXPLICIT_0 ? time(der, children(der, next)[0]) : Number.NaN;
  if (next?.tag === EXPLICIT_0 && Number.isNaN(nextUpdateMs)) throw new TlsConfigError('OCSP nextUpdate is not a time');
  return { serialNumber: serialHex(der, serial), nextUpdateMs };
}

function sequence(der: Uint8Array, part: Element | null | undefined, what: string): Element {
  if (part?.tag !== SEQUENCE) throw new TlsConfigError(`OCSP ${what} is not a well-formed ASN.1 SEQUENCE`);
  if (part.end > part.start && children(der, part).at(-1)?.end !== part.end)
    throw new TlsConfigError(`OCSP ${what} is cut short`);
  return part;
}

/** For a client that asks; one that does not may be given any certificate. */
export function stapleAction(
  policy: OcspStaplePolicy,
  mustStaple: boolean,
  response: OcspResponse | null,
  nowMs: number,
): StapleAction {
  if (response !== null && nowMs <= response.nextUpdateMs) return 'staple';
  if (mustStaple || policy === 'MUST_STAPLE') return 'fail';
  return policy === 'STRICT_STAPLING' && response !== null ? 'fail' : 'omit';
}
