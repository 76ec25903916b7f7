/**
 * Whether a peer's certificate is for what the handshake uses it for (RFC 5280 4.2.1.3, RFC 8446 4.4.2.2): its key signs, or deciphers
 * where TLS 1.2 has the client encrypt to it. A certificate that does not say is for anything.
 *
 * As BoringSSL, and with it Envoy: RSA certificates of servers that speak TLS 1.2 may be overlooked (`enforce_rsa_key_usage`), others not.
 */
import { ssl } from '../sys/openssl.ts';

const DIGITAL_SIGNATURE = 0x80;
const KEY_ENCIPHERMENT = 0x20;
const BOTH = DIGITAL_SIGNATURE | KEY_ENCIPHERMENT;
const NID_KX_RSA = 1037;
const EVP_PKEY_RSA = 6;
const TLS1_3_VERSION = 0x0304;
const X509_V_ERR_INVALID_PURPOSE = 26;

/** `store` is the X509_STORE_CTX of the handshake of `connection`, on which a false result leaves the reason. */
export function keyUsageFits(store: bigint, connection: bigint, isServer: boolean): boolean {
  const usage = ssl.X509_get_key_usage(ssl.X509_STORE_CTX_get0_cert(store));
  if ((usage & BOTH) === BOTH) return true;
  const enciphers = !isServer && ssl.SSL_CIPHER_get_kx_nid(ssl.SSL_get_pending_cipher(connection)) === NID_KX_RSA;
  if ((usage & (enciphers ? KEY_ENCIPHERMENT : DIGITAL_SIGNATURE)) !== 0) return true;
  ssl.X509_STORE_CTX_set_error(store, X509_V_ERR_INVALID_PURPOSE);
  return false;
}

/** Of a certificate that does not fit. */
export function mayOverlookKeyUsage(store: bigint, connection: bigint): boolean {
  if (ssl.SSL_version(connection) >= TLS1_3_VERSION) return false;
  return ssl.EVP_PKEY_get_base_id(ssl.X509_get0_pubkey(ssl.X509_STORE_CTX_get0_cert(store))) === EVP_PKEY_RSA;
}
