/** The connecting side's configuration and its sessions for resumption (Envoy: ClientContextImpl). */
import { loadOpenSsl, ssl } from '../sys/openssl.ts';
import { type Certificate, type LoadedCertificate, loadCertificate } from './certificate.ts';
import { buildClientContext, freeWithOwner, type KeptSession, type SslContext } from './context.ts';
import { type EngineOwner, TlsEngine } from './engine.ts';
import { TlsConfigError } from './errors.ts';
import { TlsInfo } from './info.ts';
import { type ClientTlsSettings, TLS_VERSIONS, type ValidationSettings } from './settings.ts';

export interface ClientOptions {
  /** '' sends none. */
  readonly serverName: string;
  readonly alpn: readonly string[];
  /** Of which the certificate must have one, in place of the SAN matchers; empty for those. */
  readonly verifyNames: readonly string[];
}

export class ClientTls {
  private context: ClientContext;

  /** Throws TlsConfigError. */
  constructor(settings: ClientTlsSettings) {
    loadOpenSsl();
    this.context = new ClientContext(settings);
  }

  get certificates(): readonly Certificate[] {
    return [...this.context.context.certificates.values()];
  }

  get settings(): ClientTlsSettings {
    return this.context.settings;
  }

  /** A new connection; its first `handshake` makes the hello. */
  connect(options: ClientOptions, info = new TlsInfo()): TlsEngine {
    return this.context.connect(options, info);
  }

  /** For new connections; sessions are not used any more. Throws TlsConfigError; then nothing changed. */
  reload(settings: ClientTlsSettings): void {
    this.context = new ClientContext(settings);
  }
}

class ClientContext implements EngineOwner {
  readonly isServer = false;
  readonly seesPeerCertificate = true;
  readonly settings: ClientTlsSettings;
  readonly context: SslContext;
  readonly ticketKeys = null;
  readonly enforceKeyUsage: boolean;
  /** Newest last. A session is tied to the name it was verified for. */
  private readonly sessions: KeptSession[] = [];

  constructor(settings: ClientTlsSettings) {
    this.settings = settings;
    this.enforceKeyUsage = settings.enforceRsaKeyUsage;
    const loaded: LoadedCertificate[] = [];
    try {
      settings.certificates.forEach((source, i) => {
        try {
          loaded.push(loadCertificate(source));
        } catch (error) {
          if (error instanceof TlsConfigError) throw new TlsConfigError(error.message, `tls_certificates[${i}]`);
          throw error;
        }
      });
      this.context = buildClientContext(settings, loaded);
      freeWithOwner(this, this.context, this.sessions);
    } finally {
      for (const certificate of loaded) certificate.free();
    }
  }

  get validation(): ValidationSettings | null {
    return this.settings.validation;
  }

  get alpn(): readonly string[] {
    return this.settings.alpn;
  }

  get keyLog(): ((line: string) => void) | null {
    return this.settings.keyLog;
  }

  connect(options: ClientOptions, info: TlsInfo): TlsEngine {
    const engine = new TlsEngine(this, info, options.verifyNames);
    engine.sessionKey = `${options.serverName} ${options.verifyNames.join(' ')}`;
    engine.setServerName(options.serverName);
    engine.offerProtocols(options.alpn);
    const at = this.sessions.findLastIndex((kept) => kept.key === engine.sessionKey);
    if (at >= 0) {
      const { session } = this.sessions[at];
      engine.offerSession(session);
      // A ticket of TLS 1.3 is used once (RFC 8446 C.4): the server sends new ones.
      if (ssl.SSL_SESSION_get_protocol_version(session) >= TLS_VERSIONS.TLSv1_3) {
        this.sessions.splice(at, 1);
        ssl.SSL_SESSION_free(session);
      }
    }
    return engine;
  }

  keepSession(engine: TlsEngine, session: bigint): boolean {
    if (this.settings.maxSessionKeys === 0) return false;
    this.sessions.push({ key: engine.sessionKey, session });
    if (this.sessions.length > this.settings.maxSessionKeys) {
      const [oldest] = this.sessions.splice(0, 1);
      ssl.SSL_SESSION_free(oldest.session);
    }
    return true;
  }
}
