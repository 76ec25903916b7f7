/**
 * A response of a control plane, or a file with one, taken apart: each resource decoded, checked as the bootstrap is, and made plain by itself,
 * so that one that cannot be used does not take the others with it. Needs the definitions of the Envoy API: see `parse_process.ts`.
 */
import { fromBinary, type JsonObject, type Message } from '@bufbuild/protobuf';
import type { Any, Duration } from '@bufbuild/protobuf/wkt';
import { type Api, api } from '../api/registry.ts';
import { toDumpJson } from '../dump.ts';
import { ConfigError } from '../error.ts';
import { Diagnostics } from '../errors.ts';
import { loadMessage } from '../load.ts';
import { toPlain } from '../plain.ts';
import type { Place } from '../source.ts';
import { validateMessage } from '../validate/validate.ts';
import { kindOf, RESOURCE_TYPES, type ResourceKind, typeUrl } from './resource_types.ts';

export interface ParsedResource {
  readonly name: string;
  /** Its own (delta, or wrapped); '' else. */
  readonly version: string;
  /** Null: it cannot be used, or is only a sign of life of one that was sent before. */
  readonly plain: Record<string, unknown> | null;
  /** With proto field names and secrets redacted, for admin. */
  readonly json: JsonObject | null;
  /** Why it cannot be used. */
  readonly error: string | null;
  /** It goes when it was not sent again for so long; null: it stays. */
  readonly ttlMs: number | null;
}

export interface ParsedResponse {
  readonly kind: ResourceKind | null;
  readonly typeUrl: string;
  readonly version: string;
  readonly nonce: string;
  /** What the control plane calls itself. */
  readonly controlPlane: string;
  readonly resources: ParsedResource[];
  /** Delta only. */
  readonly removed: string[];
}

interface ResponseMessage extends Message {
  versionInfo: string;
  systemVersionInfo: string;
  typeUrl: string;
  nonce: string;
  resources: (Any | ResourceMessage)[];
  removedResources: string[];
  controlPlane?: { identifier: string };
}

interface ResourceMessage extends Message {
  name: string;
  version: string;
  resource?: Any;
  ttl?: Duration;
}

const SOTW = 'envoy.service.discovery.v3.DiscoveryResponse';
const DELTA = 'envoy.service.discovery.v3.DeltaDiscoveryResponse';
const RESOURCE = 'envoy.service.discovery.v3.Resource';

/** Throws ConfigError when it is no such message at all. */
export function parseResponse(bytes: Uint8Array, delta: boolean): ParsedResponse {
  const definitions = api();
  let message: ResponseMessage;
  try {
    message = fromBinary(definitions.message(delta ? DELTA : SOTW), bytes) as ResponseMessage;
  } catch (error) {
    throw new ConfigError(`no discovery response: ${error instanceof Error ? error.message : String(error)}`);
  }
  return parse(definitions, message, delta, null);
}

/** A file with a DiscoveryResponse (.yaml, .json, .pb). Throws ConfigError(s). */
export function parseResponseFile(path: string, kind: ResourceKind): ParsedResponse {
  const { message, place } = loadMessage(SOTW, path);
  return parse(api(), message as ResponseMessage, false, { kind, place });
}

function parse(
  definitions: Api,
  message: ResponseMessage,
  delta: boolean,
  file: { kind: ResourceKind; place: Place } | null,
): ParsedResponse {
  const url = message.typeUrl || (file === null ? '' : typeUrl(file.kind));
  const resources = message.resources.map((resource, i) => {
    const at = file?.place.positions?.children.get('resources')?.children.get(i);
    const place: Place = { path: `resources[${i}]`, positions: at, at: at?.at };
    return delta
      ? parseWrapped(definitions, resource as ResourceMessage, url, place)
      : parseAny(definitions, resource as Any, url, place);
  });
  return {
    kind: kindOf(url),
    typeUrl: url,
    version: delta ? message.systemVersionInfo : message.versionInfo,
    nonce: message.nonce,
    controlPlane: message.controlPlane?.identifier ?? '',
    resources,
    removed: delta ? message.removedResources : [],
  };
}

function parseAny(definitions: Api, any: Any, url: string, place: Place): ParsedResource {
  if (any.typeUrl.endsWith(`/${RESOURCE}`)) {
    try {
      return parseWrapped(definitions, fromBinary(definitions.message(RESOURCE), any.value) as ResourceMessage, url, place);
    } catch (error) {
      return unusable('', reasonOf(error));
    }
  }
  return parseResource(definitions, any, url, place, null);
}

function parseWrapped(definitions: Api, wrapper: ResourceMessage, url: string, place: Place): ParsedResource {
  const ttlMs = wrapper.ttl === undefined ? null : Number(wrapper.ttl.seconds) * 1000 + wrapper.ttl.nanos / 1e6;
  const { name, version } = wrapper;
  if (wrapper.resource === undefined) return { name, version, plain: null, json: null, error: null, ttlMs };
  return parseResource(definitions, wrapper.resource, url, place, { name, version, ttlMs });
}

function parseResource(
  definitions: Api,
  any: Any,
  url: string,
  place: Place,
  wrapper: { name: string; version: string; ttlMs: number | null } | null,
): ParsedResource {
  const { name = '', version = '', ttlMs = null } = wrapper ?? {};
  const kind = kindOf(url);
  if (kind === null) return unusable(name, `resources of type ${url} are not supported by Sluice yet`);
  if (any.typeUrl !== url) return unusable(name, `type URL ${any.typeUrl} does not match expected type URL ${url}`);
  const type = definitions.message(RESOURCE_TYPES[kind].message);
  try {
    const message = fromBinary(type, any.value);
    const own = String((message as unknown as Record<string, unknown>)[RESOURCE_TYPES[kind].nameField] ?? '');
    const diagnostics = new Diagnostics();
    validateMessage(definitions, message, place, diagnostics);
    const plain = toPlain(definitions, message, place, diagnostics, { allowUnsupported: false });
    if (diagnostics.errors.length > 0 || plain === undefined)
      return unusable(name || own, diagnostics.errors.map((error) => error.message).join('; '));
    return { name: name || own, version, plain, json: toDumpJson(definitions, message), error: null, ttlMs };
  } catch (error) {
    return unusable(name, reasonOf(error));
  }
}

function unusable(name: string, error: string): ParsedResource {
  return { name, version: '', plain: null, json: null, error, ttlMs: null };
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
