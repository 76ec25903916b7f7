/**
 * A TLS context whose certificates, validation or ticket keys are secrets with a name (Envoy: ContextConfigImpl with SDS): the context as
 * it is with the secrets in their places. `combined_validation_context` is the default with the secret merged over it, as proto merges.
 */
import { ConfigError } from '../../../config/error.ts';
import type { SecretConfig, SecretStore } from '../../../network/secrets.ts';
import type {
  CertificateValidationConfig,
  CommonTlsContextConfig,
  DownstreamTlsContextConfig,
  TlsCertificateConfig,
} from './context_config.ts';

interface ContextWithSecrets {
  commonTlsContext?: CommonTlsContextConfig & {
    tlsCertificateSdsSecretConfigs?: readonly SecretConfig[];
    validationContextSdsSecretConfig?: SecretConfig;
    combinedValidationContext?: {
      defaultValidationContext?: CertificateValidationConfig;
      validationContextSdsSecretConfig?: SecretConfig;
    };
  };
  sessionTicketKeysSdsSecretConfig?: SecretConfig;
}

/** What has to be told when it changes. */
export function secretsOf(context: object): SecretConfig[] {
  const { commonTlsContext: common, sessionTicketKeysSdsSecretConfig: tickets } = context as ContextWithSecrets;
  return [
    ...(common?.tlsCertificateSdsSecretConfigs ?? []),
    common?.validationContextSdsSecretConfig,
    common?.combinedValidationContext?.validationContextSdsSecretConfig,
    tickets,
  ].filter((secret) => secret !== undefined);
}

/** The context without references. Throws ConfigError. */
export function withSecrets<T extends object>(context: T, store: SecretStore): T {
  if (secretsOf(context).length === 0) return context;
  const { commonTlsContext, sessionTicketKeysSdsSecretConfig: tickets } = context as ContextWithSecrets;
  const common = commonTlsContext ?? {};
  const next: { commonTlsContext: CommonTlsContextConfig; sessionTicketKeys?: unknown } = { commonTlsContext: { ...common } };
  const certificates = common.tlsCertificateSdsSecretConfigs ?? [];
  if (certificates.length > 0) {
    const path = 'common_tls_context.tls_certificate_sds_secret_configs';
    if ((common.tlsCertificates ?? []).length > 0)
      throw new ConfigError('only one of tls_certificates and tls_certificate_sds_secret_configs can be set', { path });
    next.commonTlsContext.tlsCertificates = certificates.map(
      (secret, i) => store.get(secret, 'tls_certificate', `${path}[${i}]`) as TlsCertificateConfig,
    );
  }
  const validation = validationOf(common, store);
  if (validation !== undefined) next.commonTlsContext.validationContext = validation;
  if (tickets !== undefined)
    next.sessionTicketKeys = store.get(
      tickets,
      'session_ticket_keys',
      'session_ticket_keys_sds_secret_config',
    ) as DownstreamTlsContextConfig['sessionTicketKeys'];
  return { ...context, ...next };
}

function validationOf(
  common: NonNullable<ContextWithSecrets['commonTlsContext']>,
  store: SecretStore,
): CertificateValidationConfig | undefined {
  const at = 'common_tls_context';
  const alone = common.validationContextSdsSecretConfig;
  if (alone !== undefined) {
    const path = `${at}.validation_context_sds_secret_config`;
    return store.get(alone, 'validation_context', path) as CertificateValidationConfig;
  }
  const combined = common.combinedValidationContext;
  if (combined === undefined) return undefined;
  const secret = combined.validationContextSdsSecretConfig;
  const over =
    secret === undefined
      ? {}
      : store.get(secret, 'validation_context', `${at}.combined_validation_context.validation_context_sds_secret_config`);
  return merged((combined.defaultValidationContext ?? {}) as Record<string, unknown>, over as Record<string, unknown>);
}

/** The first value of its enum. */
const DEFAULTS: ReadonlySet<unknown> = new Set([undefined, false, 0, '', 'VERIFY_TRUST_CHAIN']);

/** As proto merges: lists are appended, what is not set does not replace. */
function merged(base: Record<string, unknown>, over: Record<string, unknown>): CertificateValidationConfig {
  const result = { ...base };
  for (const [key, value] of Object.entries(over)) {
    const before = result[key];
    if (Array.isArray(value)) result[key] = [...((before as unknown[] | undefined) ?? []), ...value];
    else if (!DEFAULTS.has(value)) result[key] = value;
  }
  return result as CertificateValidationConfig;
}
