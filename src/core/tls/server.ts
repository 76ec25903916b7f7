/**
 * The accepting side's configuration: one SSL_CTX for each combination of certificates that a server name selects (Envoy:
 * DefaultTlsCertificateSelector). A name is looked up exactly, then as `*.suffix`; RSA and ECDSA certificates for one name are offered
 * together. Without a server name all certificates are candidates; with one that no certificate has, the first is used, or all with
 * `fullScanOnSniMismatch`. For a client that asks for an OCSP response, certificates that the policy does not allow without a valid one
 * do not count; when none is left the handshake is refused.
 */
import { callback, loadOpenSsl, writeByte } from '../sys/openssl.ts';
import { type Certificate, type LoadedCertificate, loadCertificate } from './certificate.ts';
import { buildServerContext, freeWithOwner, refuseHellos, type SslContext, setTicketKey } from './context.ts';
import { type EngineOwner, TlsEngine } from './engine.ts';
import { TlsConfigError } from './errors.ts';
import { TlsInfo } from './info.ts';
import { type OcspResponse, type OcspStaplePolicy, parseOcspResponse, type StapleAction, stapleAction } from './ocsp.ts';
import type { ServerTlsSettings, TlsCertificateSettings, ValidationSettings } from './settings.ts';
import { TicketKeys } from './ticket_keys.ts';

/** What a client's hello says that decides how it is answered. */
export interface HelloFacts {
  /** '' for none. */
  readonly serverName: string;
  /** Null: unknown. */
  readonly tickets: readonly Uint8Array[] | null;
  readonly asksOcsp: boolean;
  /** It asks for short records; undefined: unknown. */
  readonly limitsFragments?: boolean;
}

export class ServerTls {
  readonly ticketKeys: TicketKeys | null;
  private selector: CertificateSelector;
  private readonly nowMs: () => number;

  /** Throws TlsConfigError. */
  constructor(settings: ServerTlsSettings, nowMs: () => number = Date.now) {
    loadOpenSsl();
    this.nowMs = nowMs;
    this.ticketKeys = settings.statelessResumption ? new TicketKeys(settings.ticketKeys) : null;
    this.selector = new CertificateSelector(settings, this.ticketKeys);
  }

  get certificates(): readonly Certificate[] {
    return this.selector.certificates;
  }

  /** A new connection. */
  accept(hello: HelloFacts, info = new TlsInfo()): TlsEngine {
    info.sni = hello.serverName.toLowerCase();
    return hello.asksOcsp ? this.acceptWithOcsp(hello, info) : this.engine(this.selector.find(info.sni), hello, info);
  }

  /** Replaces certificates and validation for new connections. Throws TlsConfigError; then nothing changed. */
  reload(settings: ServerTlsSettings): void {
    this.selector = new CertificateSelector(settings, this.ticketKeys);
  }

  private acceptWithOcsp(hello: HelloFacts, info: TlsInfo): TlsEngine {
    const now = this.nowMs();
    const context = this.selector.findAllowed(info.sni, now);
    const engine = this.engine(context ?? this.selector.refusing, hello, info);
    engine.staple = context === null ? 'fail' : context.stapleAction(now);
    if (context === null) engine.refusal = 'no certificate has the OCSP response that the policy demands';
    return engine;
  }

  private engine(context: ServerContext, hello: HelloFacts, info: TlsInfo): TlsEngine {
    const engine = new TlsEngine(context, info);
    engine.mayLimitFragments = hello.limitsFragments !== false;
    if (this.ticketKeys !== null) {
      context.refreshTicketKey();
      engine.asksTicketKeys = hello.tickets === null || !this.ticketKeys.sealed(hello.tickets);
    }
    return engine;
  }
}

class ServerContext implements EngineOwner {
  readonly isServer = true;
  readonly enforceKeyUsage = true;
  readonly seesPeerCertificate: boolean;
  readonly context: SslContext;
  readonly validation: ValidationSettings | null;
  readonly alpn: readonly string[];
  readonly ticketKeys: TicketKeys | null;
  readonly keyLog: ((line: string) => void) | null;
  private readonly candidates: readonly Candidate[];
  private ticketKey = 0n;

  constructor(context: SslContext, candidates: readonly Candidate[], settings: ServerTlsSettings, ticketKeys: TicketKeys | null) {
    this.context = context;
    this.candidates = candidates;
    this.validation = settings.validation;
    this.seesPeerCertificate = settings.validation !== null || settings.requireClientCertificate;
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

  /** Of all its certificates; null: it depends on which one the handshake takes. */
  stapleAction(nowMs: number): StapleAction | null {
    const first = this.candidates[0].action(nowMs);
    return this.candidates.every((candidate) => candidate.action(nowMs) === first) ? first : null;
  }

  keepSession(): boolean {
    return false;
  }
}

/** One of the configured certificates, loaded. */
class Candidate {
  readonly loaded: LoadedCertificate;
  readonly index: number;
  readonly response: OcspResponse | null;
  private readonly policy: OcspStaplePolicy;

  /** Throws TlsConfigError. */
  constructor(source: TlsCertificateSettings, index: number, policy: OcspStaplePolicy) {
    this.index = index;
    this.policy = policy;
    try {
      this.loaded = loadCertificate(source);
    } catch (error) {
      if (error instanceof TlsConfigError) throw new TlsConfigError(error.message, `tls_certificates[${index}]`);
      throw error;
    }
    try {
      this.response = responseOf(source, this.loaded.leaf, policy);
    } catch (error) {
      this.loaded.free();
      if (error instanceof TlsConfigError) throw new TlsConfigError(error.message, `tls_certificates[${index}].ocsp_staple`);
      throw error;
    }
  }

  action(nowMs: number): StapleAction {
    return stapleAction(this.policy, this.loaded.leaf.fields.mustStaple, this.response, nowMs);
  }
}

/** Null: there is none. Throws TlsConfigError. */
function responseOf(source: TlsCertificateSettings, leaf: Certificate, policy: OcspStaplePolicy): OcspResponse | null {
  if (source.ocspStaple === null || source.ocspStaple.length === 0) {
    if (leaf.fields.mustStaple) throw new TlsConfigError('OCSP response is required for must-staple certificate');
    if (policy === 'MUST_STAPLE') throw new TlsConfigError('Required OCSP response is missing from TLS context');
    return null;
  }
  const response = parseOcspResponse(source.ocspStaple);
  // Only the serial number, as Envoy: this is against mistakes.
  if (response.serialNumber !== leaf.serialNumber) throw new TlsConfigError('OCSP response does not match its TLS certificate');
  return response;
}

const freeCertificates = new FinalizationRegistry<readonly Candidate[]>((candidates) => {
  for (const { loaded } of candidates) loaded.free();
});

class CertificateSelector {
  readonly certificates: readonly Certificate[];
  private readonly settings: ServerTlsSettings;
  private readonly ticketKeys: TicketKeys | null;
  private readonly all: readonly Candidate[];
  private readonly candidatesOf = new Map<string, Candidate[]>();
  /** By the indices of their certificates. */
  private readonly contexts = new Map<string, ServerContext>();
  private readonly byName = new Map<string, ServerContext>();
  private readonly withoutName: ServerContext;
  private readonly onMismatch: ServerContext;
  private refuser: ServerContext | null = null;

  constructor(settings: ServerTlsSettings, ticketKeys: TicketKeys | null) {
    this.settings = settings;
    this.ticketKeys = ticketKeys;
    const all: Candidate[] = [];
    this.all = all;
    try {
      settings.certificates.forEach((source, i) => {
        all.push(new Candidate(source, i, settings.ocspStaplePolicy));
      });
      if (all.length === 0) throw new TlsConfigError('a server needs a certificate', 'tls_certificates');
      for (const candidate of all) {
        for (const name of candidate.loaded.serverNames) {
          const list = this.candidatesOf.get(name);
          if (list === undefined) this.candidatesOf.set(name, [candidate]);
          else if (!list.some((other) => other.loaded.keyType === candidate.loaded.keyType)) list.push(candidate);
        }
      }
      this.withoutName = this.contextOf(all);
      this.onMismatch = settings.fullScanOnSniMismatch ? this.withoutName : this.contextOf([all[0]]);
      for (const [name, candidates] of this.candidatesOf) this.byName.set(name, this.contextOf(candidates));
    } catch (error) {
      for (const { loaded } of all) loaded.free();
      throw error;
    }
    freeCertificates.register(this, all);
    this.certificates = all.map(({ loaded }) => loaded.leaf);
  }

  /** Refuses each handshake. */
  get refusing(): ServerContext {
    if (this.refuser === null) {
      this.refuser = this.build([this.all[0]]);
      refuseHellos(this.refuser.context, refuseHello());
    }
    return this.refuser;
  }

  find(name: string): ServerContext {
    if (name === '') return this.withoutName;
    const exact = this.byName.get(name);
    if (exact !== undefined) return exact;
    const wildcard = wildcardOf(name);
    return (wildcard === '' ? undefined : this.byName.get(wildcard)) ?? this.onMismatch;
  }

  /** For a client that asks for an OCSP response: null when no certificate may be used. */
  findAllowed(name: string, nowMs: number): ServerContext | null {
    const allowed = (candidates: readonly Candidate[] | undefined): readonly Candidate[] =>
      candidates?.filter((candidate) => candidate.action(nowMs) !== 'fail') ?? [];
    let found: readonly Candidate[] = [];
    if (name !== '') {
      found = allowed(this.candidatesOf.get(name));
      if (found.length === 0) found = allowed(this.candidatesOf.get(wildcardOf(name)));
      if (found.length === 0 && !this.settings.fullScanOnSniMismatch) found = allowed([this.all[0]]);
    } else found = allowed(this.all);
    if (found.length === 0 && this.settings.fullScanOnSniMismatch) found = allowed(this.all);
    return found.length === 0 ? null : this.contextOf(found);
  }

  private contextOf(candidates: readonly Candidate[]): ServerContext {
    const chosen = onePerKeyType(candidates);
    const key = chosen.map(({ index }) => index).join();
    let context = this.contexts.get(key);
    if (context === undefined) {
      context = this.build(chosen);
      this.contexts.set(key, context);
    }
    return context;
  }

  private build(chosen: readonly Candidate[]): ServerContext {
    const certificates = chosen.map(({ loaded }) => loaded);
    const responses = chosen.map(({ response }) => response);
    return new ServerContext(buildServerContext(this.settings, certificates, responses), chosen, this.settings, this.ticketKeys);
  }
}

/** `*.example.com` for `a.example.com`; '' when the name has one label. */
function wildcardOf(name: string): string {
  const dot = name.indexOf('.');
  return dot > 0 ? `*${name.slice(dot)}` : '';
}

/** The first of each key type, in order. */
function onePerKeyType(candidates: readonly Candidate[]): Candidate[] {
  const types = new Set<string>();
  return candidates.filter(({ loaded: { keyType } }) => {
    if (types.has(keyType)) return false;
    types.add(keyType);
    return true;
  });
}

const HANDSHAKE_FAILURE = 40;
let refusal: bigint | null = null;

/** OpenSSL's client hello callback that says no to all. */
function refuseHello(): bigint {
  refusal ??= callback(['pointer', 'pointer', 'pointer'], 'int32', 0, (_: bigint, alert: bigint) => {
    writeByte(alert, HANDSHAKE_FAILURE);
    return 0;
  });
  return refusal;
}
