/** `ssl.*` of a listener or cluster (Envoy: source/common/tls/stats.h). */
import type { Counter, Gauge, Scope } from '../../../../core/stats/stats.ts';
import type { Certificate } from '../../../../core/tls/certificate.ts';
import type { TlsEngine } from '../../../../core/tls/engine.ts';
import type { StapleAction } from '../../../../core/tls/ocsp.ts';

export class TlsStats {
  readonly connection_error: Counter;
  readonly handshake: Counter;
  readonly session_reused: Counter;
  readonly no_certificate: Counter;
  readonly fail_verify_no_cert: Counter;
  readonly fail_verify_error: Counter;
  readonly fail_verify_san: Counter;
  readonly fail_verify_cert_hash: Counter;
  readonly was_key_usage_invalid: Counter;
  readonly ocsp_staple_requests: Counter;
  readonly ocsp_staple_responses: Counter;
  readonly ocsp_staple_omitted: Counter;
  readonly ocsp_staple_failed: Counter;
  /** Certificates that were replaced while running. */
  readonly context_reloaded: Counter;
  readonly context_reload_failed: Counter;
  /** A secret was replaced. */
  readonly ssl_context_update_by_sds: Counter;
  private readonly scope: Scope;
  /** `versions.TLSv1.3` and the like, made when first seen. */
  private readonly named = new Map<string, Counter>();
  private readonly expirations: Gauge[] = [];

  constructor(parent: Scope, side: 'server' | 'client') {
    const scope = parent.scope('ssl.');
    this.scope = scope;
    this.connection_error = scope.counter('connection_error');
    this.handshake = scope.counter('handshake');
    this.session_reused = scope.counter('session_reused');
    this.no_certificate = scope.counter('no_certificate');
    this.fail_verify_no_cert = scope.counter('fail_verify_no_cert');
    this.fail_verify_error = scope.counter('fail_verify_error');
    this.fail_verify_san = scope.counter('fail_verify_san');
    this.fail_verify_cert_hash = scope.counter('fail_verify_cert_hash');
    this.was_key_usage_invalid = scope.counter('was_key_usage_invalid');
    this.ocsp_staple_requests = scope.counter('ocsp_staple_requests');
    this.ocsp_staple_responses = scope.counter('ocsp_staple_responses');
    this.ocsp_staple_omitted = scope.counter('ocsp_staple_omitted');
    this.ocsp_staple_failed = scope.counter('ocsp_staple_failed');
    this.context_reloaded = scope.counter('context_reloaded');
    this.context_reload_failed = scope.counter('context_reload_failed');
    this.ssl_context_update_by_sds = parent.counter(`${side}_ssl_socket_factory.ssl_context_update_by_sds`);
  }

  countHandshake({ info, keyUsageInvalid }: TlsEngine): void {
    this.handshake.inc();
    if (keyUsageInvalid) this.was_key_usage_invalid.inc();
    if (info.sessionReused) this.session_reused.inc();
    if (!info.peerCertificatePresented) this.no_certificate.inc();
    this.count('versions.', info.version);
    this.count('ciphers.', info.cipher);
    if (info.curve !== '') this.count('curves.', info.curve);
    if (info.signatureAlgorithm !== '') this.count('sigalgs.', info.signatureAlgorithm);
  }

  countStaple(action: StapleAction): void {
    if (action === 'staple') this.ocsp_staple_responses.inc();
    else if (action === 'omit') this.ocsp_staple_omitted.inc();
    else this.ocsp_staple_failed.inc();
  }

  countFailure(engine: TlsEngine): void {
    switch (engine.verifyFailure) {
      case 'no_cert':
        this.fail_verify_no_cert.inc();
        break;
      case 'error':
        this.fail_verify_error.inc();
        break;
      case 'san':
        this.fail_verify_san.inc();
        break;
      case 'cert_hash':
        this.fail_verify_cert_hash.inc();
        break;
    }
    if (engine.protocolError) this.connection_error.inc();
  }

  /** Gauges are sums over workers: only the first worker sets them. */
  setCertificates(certificates: readonly Certificate[]): void {
    certificates.forEach((certificate, i) => {
      this.expirations[i] ??= this.scope.gauge(`certificate.${i}.expiration_unix_time_seconds`);
      if (Number.isFinite(certificate.expirationMs)) this.expirations[i].set(Math.floor(certificate.expirationMs / 1000));
    });
  }

  private count(prefix: string, name: string): void {
    const key = prefix + name;
    let counter = this.named.get(key);
    if (counter === undefined) {
      counter = this.scope.counter(key);
      this.named.set(key, counter);
    }
    counter.inc();
  }
}
