/** The resource that spans belong to: the service's name and what detectors found. Later detectors win; `service_name` is the default. */
import { VERSION } from '../../../../core/version.ts';
import { ConfigError } from '../../../config/error.ts';

export interface DetectorConfig {
  typedConfig?: { '@type': string; attributes?: Readonly<Record<string, string>> };
}

const DETECTORS = 'envoy.extensions.tracers.opentelemetry.resource_detectors.v3.';
const VARIABLE = 'OTEL_RESOURCE_ATTRIBUTES';

export function resourceAttributes(serviceName: string, detectors: readonly DetectorConfig[]): ReadonlyMap<string, string> {
  const attributes = new Map([
    ['service.name', serviceName === '' ? 'unknown_service:envoy' : serviceName],
    ['telemetry.sdk.language', 'nodejs'],
    ['telemetry.sdk.name', 'sluice'],
    ['telemetry.sdk.version', VERSION],
  ]);
  for (const [i, { typedConfig }] of detectors.entries()) {
    const path = `resource_detectors[${i}]`;
    const type = typedConfig?.['@type'];
    if (type === `${DETECTORS}StaticConfigResourceDetectorConfig`)
      for (const [key, value] of Object.entries(typedConfig?.attributes ?? {})) attributes.set(key, value);
    else if (type === `${DETECTORS}EnvironmentResourceDetectorConfig`) readEnvironment(attributes, path);
    else throw new ConfigError(`'${type}' is not supported by Sluice yet`, { path });
  }
  return attributes;
}

/** `key=value,key=value`, values percent-encoded. */
function readEnvironment(attributes: Map<string, string>, path: string): void {
  const text = process.env[VARIABLE] ?? '';
  if (text === '') {
    throw new ConfigError(
      `The OpenTelemetry environment resource detector is configured but the '${VARIABLE}' environment variable is empty.`,
      { path },
    );
  }
  for (const pair of text.split(',')) {
    const equals = pair.indexOf('=');
    if (equals <= 0) throw new ConfigError(`'${pair}' in ${VARIABLE} is not of the form key=value`, { path });
    attributes.set(pair.slice(0, equals).trim(), decode(pair.slice(equals + 1).trim()));
  }
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
