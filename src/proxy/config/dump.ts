/** Messages as proto JSON with proto field names, secrets replaced by `[redacted]`: what `/config_dump` shows. */
import { clone, fromBinary, type JsonObject, type Message, ScalarType, toBinary, toJson } from '@bufbuild/protobuf';
import { type ReflectMessage, reflect } from '@bufbuild/protobuf/reflect';
import type { Any } from '@bufbuild/protobuf/wkt';
import { isSensitive } from './api/options.ts';
import type { Api } from './api/registry.ts';

export function toDumpJson(api: Api, message: Message): JsonObject {
  const type = api.message(message.$typeName);
  const copy = clone(type, message);
  redact(api, reflect(type, copy), false);
  return toJson(type, copy, { registry: api.registry, useProtoFieldName: true }) as JsonObject;
}

const REDACTED = '[redacted]';

/** As Envoy: everything below a field marked sensitive is hidden: text is replaced, other values are cleared. */
function redact(api: Api, message: ReflectMessage, hide: boolean): void {
  if (message.desc.typeName === 'google.protobuf.Any') {
    redactAny(api, message.message as Any, hide);
    return;
  }
  for (const field of message.fields) {
    if (!message.isSet(field)) continue;
    const hidden = hide || isSensitive(api, field);
    if (field.fieldKind === 'message') {
      redact(api, message.get(field), hidden);
    } else if (field.message !== undefined) {
      const values =
        field.fieldKind === 'list' ? message.get(field) : (message.get(field) as ReadonlyMap<unknown, unknown>).values();
      for (const value of values) redact(api, value as ReflectMessage, hidden);
    } else if (hidden && field.fieldKind === 'scalar' && field.scalar === ScalarType.STRING) {
      message.set(field, REDACTED);
    } else if (hidden && field.fieldKind === 'scalar' && field.scalar === ScalarType.BYTES) {
      message.set(field, new TextEncoder().encode(REDACTED));
    } else if (hidden) {
      message.clear(field);
    }
  }
}

function redactAny(api: Api, any: Any, hide: boolean): void {
  const type = api.registry.getMessage(any.typeUrl.slice(any.typeUrl.lastIndexOf('/') + 1));
  if (type === undefined) return;
  const inner = fromBinary(type, any.value);
  redact(api, reflect(type, inner), hide);
  any.value = toBinary(type, inner);
}
