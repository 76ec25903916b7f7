/**
 * From an application's configuration of TLS to OpenSSL contexts, made when they are first needed and kept as long as the configuration.
 */
import { ClientTls } from '../../core/tls/client.ts';
import { ServerTls } from '../../core/tls/server.ts';
import type { CommonTlsSettings, ValidationSettings } from '../../core/tls/settings.ts';
import type { CryptoConfig } from '../session/crypto_config.ts';

const SESSION_TIMEOUT_SECONDS = 7200;
/** Sessions that clients keep per configuration. */
const MAX_SESSION_KEYS = 16;

const servers = new WeakMap<CryptoConfig, ServerTls>();
const clients = new WeakMap<CryptoConfig, ClientTls>();

/** Throws TlsConfigError. */
export function serverContext(config: CryptoConfig): ServerTls {
  let server = servers.get(config);
  if (server === undefined) {
    server = new ServerTls({
      ...common(config),
      requireClientCertificate: config.requireClientCertificate,
      preferClientCiphers: false,
      // Tickets that name a session of this stack: no key to keep and to change.
      statelessResumption: false,
      statefulResumption: true,
      ticketKeys: [],
      sessionTimeoutSeconds: SESSION_TIMEOUT_SECONDS,
      fullScanOnSniMismatch: false,
      ocspStaplePolicy: 'LENIENT_STAPLING',
    });
    servers.set(config, server);
  }
  return server;
}

/** Throws TlsConfigError. */
export function clientContext(config: CryptoConfig): ClientTls {
  let client = clients.get(config);
  if (client === undefined) {
    client = new ClientTls({ ...common(config), sni: '', maxSessionKeys: MAX_SESSION_KEYS, enforceRsaKeyUsage: false });
    clients.set(config, client);
  }
  return client;
}

function common(config: CryptoConfig): CommonTlsSettings {
  return {
    minVersion: config.minVersion,
    maxVersion: config.maxVersion,
    cipherSuites: config.cipherSuites,
    curves: config.curves,
    signatureAlgorithms: [],
    alpn: config.alpn,
    certificates: config.certificates.map(({ cert, key, password }) => ({
      chain: Buffer.from(cert),
      key: Buffer.from(key),
      password,
      pkcs12: null,
      ocspStaple: null,
    })),
    validation: config.verify ? validation(config) : null,
    keyLog: null,
  };
}

function validation(config: CryptoConfig): ValidationSettings {
  return {
    trustedCa: config.ca === null ? null : Buffer.from(config.ca),
    systemRoots: config.ca === null,
    crl: config.crl === null ? null : Buffer.from(config.crl),
    onlyVerifyLeafCrl: false,
    maxVerifyDepth: -1,
    allowExpired: false,
    acceptUntrusted: false,
    sanMatchers: [],
    hashes: [],
    spkis: [],
  };
}
