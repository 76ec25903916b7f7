/**
 * The accepting side's configuration: one SSL_CTX for each combination of certificates that a server name selects (Envoy:
 * DefaultTlsCertificateSelector). A name is looked up exactly, then as `*.suffix`; RSA and ECDSA certificates for one name are offered
 * together. Without a server name all certificates are candidates; with one that no certificate has, the first is used, or all with
 * `fullScanOnSniMismatch`.
 */
import { loadOpenSsl } from '../sys/openssl.ts';
import { type Certificate, type LoadedCertificate, loadCertificate } from './certificate.ts';
import { buildServerContext, freeWithOwner, type SslContext, setTicketKey } from './context.ts';
import { type EngineOwner, TlsEngine } from './engine.ts';
import { TlsConfigError } from './errors.ts';
import { TlsInfo } from './info.ts';
import type { ServerTlsSettings, ValidationSettings } from './settings.ts';
import { TicketKeys } from './ticket_keys.ts';

export class ServerTls {
  readonly ticketKeys: TicketKeys | null;
  private selector: CertificateSelector;

  /** Throws TlsConfigError. */
  constructor(settings: ServerTlsSettings) {
    loadOpenSsl();
    this.ticketKeys = settings.statelessResumption ? new TicketKeys(settings.ticketKeys) : null;
    this.selector = new CertificateSelector(settings, this.ticketKeys);
  }

  get certificates(): readonly Certificate[] {
    return this.selector.certificates;
  }

  /** A new connection; `serverName` and `tickets` as its hello says, '' for none, null for unknown. */
  accept(serverName: string, info = new TlsInfo(), tickets: readonly Uint8Array[] | null = null): TlsEngine {
    info.sni = serverName.toLowerCase();
    const context = this.selector.find(info.sni);
    const engine = new TlsEngine(context, info);
    if (this.ticketKeys !== null) {
      context.refreshTicketKey();
      engine.asksTicketKeys = tickets === null || !this.ticketKeys.sealed(tickets);
    }
    return engine;
  }

  /** Replaces certificates and validation for new connections. Throws TlsConfigError; then nothing changed. */
  reload(settings: ServerTlsSettings): void {
    this.selector = new CertificateSelector(settings, this.ticketKeys);
  }
}

class ServerContext implements EngineOwner {
  readonly isServer = true;
  readonly context: SslContext;
  readonly validation: ValidationSettings | null;
  readonly alpn: readonly string[];
  readonly ticketKeys: TicketKeys | null;
  readonly keyLog: ((line: string) => void) | null;
  private ticketKey = 0n;

  constructor(context: SslContext, settings: ServerTlsSettings, ticketKeys: TicketKeys | null) {
    this.context = context;
    this.validation = settings.validation;
    this.alpn = settings.alpn;
    this.ticketKeys = ticketKeys;
    this.keyLog = settings.keyLog;
    freeWithOwner(this, context);
  }

  /** The key that seals may be another one today. */
  refreshTicketKey(): void {
    const { sealing } = this.ticketKeys!;
    if (sealing === this.ticketKey) return;
    this.ticketKey = sealing;
    setTicketKey(this.context, sealing);
  }

  keepSession(): boolean {
    return false;
  }
}

class CertificateSelector {
  readonly certificates: readonly Certificate[];
  private readonly contexts = new Map<string, ServerContext>();
  private readonly byName = new Map<string, ServerContext>();
  private readonly withoutName: ServerContext;
  private readonly onMismatch: ServerContext;

  constructor(settings: ServerTlsSettings, ticketKeys: TicketKeys | null) {
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
      if (loaded.length === 0) throw new TlsConfigError('a server needs a certificate', 'tls_certificates');
      const candidates = new Map<string, number[]>();
      loaded.forEach((certificate, i) => {
        for (const name of certificate.serverNames) {
          const list = candidates.get(name);
          if (list === undefined) candidates.set(name, [i]);
          else list.push(i);
        }
      });
      const contextOf = (indices: readonly number[]): ServerContext => {
        const chosen = onePerKeyType(loaded, indices);
        const key = chosen.join();
        let context = this.contexts.get(key);
        if (context === undefined) {
          const built = buildServerContext(
            settings,
            chosen.map((i) => loaded[i]),
            chosen.map((i) => settings.certificates[i].ocspStaple),
          );
          context = new ServerContext(built, settings, ticketKeys);
          this.contexts.set(key, context);
        }
        return context;
      };
      const all = loaded.map((_, i) => i);
      this.withoutName = contextOf(all);
      this.onMismatch = settings.fullScanOnSniMismatch ? this.withoutName : contextOf([0]);
      for (const [name, indices] of candidates) this.byName.set(name, contextOf(indices));
      this.certificates = loaded.map((certificate) => certificate.leaf);
    } finally {
      for (const certificate of loaded) certificate.free();
    }
  }

  find(name: string): ServerContext {
    if (name === '') return this.withoutName;
    const exact = this.byName.get(name);
    if (exact !== undefined) return exact;
    const dot = name.indexOf('.');
    const wildcard = dot > 0 ? this.byName.get(`*${name.slice(dot)}`) : undefined;
    return wildcard ?? this.onMismatch;
  }
}

/** The first of each key type, in order. */
function onePerKeyType(loaded: readonly LoadedCertificate[], indices: readonly number[]): number[] {
  const types = new Set<string>();
  return indices.filter((i) => {
    const { keyType } = loaded[i];
    if (types.has(keyType)) return false;
    types.add(keyType);
    return true;
  });
}
