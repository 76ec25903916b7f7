/**
 * Messages -> the plain objects that the rest of the proxy reads (and that workers receive by structured clone), and with that the
 * check that every field in use is one that Sluice supports. The form of the objects:
 * camelCase names; scalars without presence always there; messages, wrappers and optional scalars only when set; wrappers as bare
 * values; enums by name; durations in milliseconds; bytes as Uint8Array; 64-bit integers as numbers; lists and maps always there;
 * Struct and Value as JSON; Any as its message with `@type`.
 */
import { type DescField, type DescMessage, fromBinary, type Message, ScalarType, toJson } from '@bufbuild/protobuf';
import { type ReflectMessage, reflect } from '@bufbuild/protobuf/reflect';
import type { Any, Duration, Timestamp } from '@bufbuild/protobuf/wkt';
import type { Api } from './api/registry.ts';
import type { Diagnostics } from './errors.ts';
import { isWrapper } from './json_scalar.ts';
import { notRegisteredReason, unknownTypeReason } from './normalize.ts';
import { fieldPlace, itemPlace, keyPlace, type Place, whereOf, whereOfKey } from './source.ts';
import {
  ACCEPTED_VALUES,
  EXTENSION_POINTS,
  FIRST_SUPPORTED_WINS,
  KNOWN_BY_NAME,
  NEVER_LEFT_OUT,
  SUPPORTED_ENUM_VALUES,
  SUPPORTED_FIELDS,
} from './supported.ts';

export type Plain = Record<string, unknown>;

export interface PlainOptions {
  /** Unsupported fields become warnings and are left out. */
  allowUnsupported: boolean;
}

/** Undefined: the message is itself unsupported (and that was reported). */
export function toPlain(
  api: Api,
  message: Message,
  place: Place,
  diagnostics: Diagnostics,
  options: PlainOptions,
): Plain | undefined {
  const type = api.message(message.$typeName);
  return new PlainWriter(api, diagnostics, options).message(reflect(type, message), place, '', '');
}

/** A value that has to go because something inside it is not supported. */
const DROPPED = Symbol('dropped');

class PlainWriter {
  private readonly api: Api;
  private readonly diagnostics: Diagnostics;
  private readonly options: PlainOptions;
  /** The extension at hand may be missing (`is_optional`): then it is left out with a warning. */
  private optional = false;
  /** What is at hand must not be left out. */
  private required = false;

  constructor(api: Api, diagnostics: Diagnostics, options: PlainOptions) {
    this.api = api;
    this.diagnostics = diagnostics;
    this.options = options;
  }

  /** `point` is the full name of the field that holds this message: extensions are registered by it. */
  message(message: ReflectMessage, place: Place, point: string, name: string): Plain | undefined {
    const supported = supportedFields(message.desc);
    if (supported === undefined) {
      this.unsupported(message.desc.typeName, place);
      return undefined;
    }
    const plain: Plain = {};
    if (this.lacksExtension(message, place)) return undefined;
    const outerOptional = this.optional;
    this.optional = isOptional(message);
    const complete = this.writeFields(message, supported, plain, place, point, name);
    this.optional = outerOptional;
    return complete ? plain : undefined;
  }

  /** False: the message has to go. */
  private writeFields(
    message: ReflectMessage,
    supported: ReadonlySet<string>,
    plain: Plain,
    place: Place,
    point: string,
    name: string,
  ): boolean {
    for (const field of message.fields) {
      if (!supported.has(field.name)) {
        if (message.isSet(field) && !isAccepted(message, field)) this.unsupportedField(field, fieldPlace(place, field.name));
        continue;
      }
      const value = message.isSet(field)
        ? this.field(message, field, fieldPlace(place, field.name), point, extensionName(message) ?? name)
        : unsetValue(field);
      if (value === DROPPED) return false;
      if (value !== undefined) plain[field.localName] = value;
    }
    return true;
  }

  /** What can only be told by its `typed_config` must have one. */
  private lacksExtension(message: ReflectMessage, place: Place): boolean {
    const field = message.desc.fields.find(({ name }) => name === 'typed_config');
    if (field === undefined || message.isSet(field) || KNOWN_BY_NAME.has(message.desc.typeName)) return false;
    const others = field.oneof?.fields ?? [];
    if (others.some((other) => message.isSet(other))) return false;
    this.diagnostics.error(notRegisteredReason(extensionName(message) ?? '', ''), whereOf(place));
    return true;
  }

  private field(message: ReflectMessage, field: DescField, place: Place, point: string, name: string): unknown {
    switch (field.fieldKind) {
      case 'scalar':
        return scalarValue(field.scalar, message.get(field));
      case 'enum':
        return this.enumValue(field, message.get(field) as number, place);
      case 'message': {
        const outerRequired = this.required;
        this.required ||= NEVER_LEFT_OUT.has(field.message.typeName);
        const value = this.messageValue(message.get(field), place, pointOf(message, field, point), name);
        this.required = outerRequired;
        // Without its configuration an extension is none: what holds it goes, and only that.
        return value === DROPPED && !isExtensionHolder(message, field) ? undefined : value;
      }
      case 'list': {
        const here = pointOf(message, field, point);
        const firstWins = FIRST_SUPPORTED_WINS.has(fullName(field));
        const items: unknown[] = [];
        const list = message.get(field);
        for (let index = 0; index < list.size; index++) {
          if (firstWins && !this.isUsable(list.get(index), here) && (index < list.size - 1 || items.length > 0)) continue;
          const value = this.element(field, list.get(index), itemPlace(place, index), here, name);
          if (value !== DROPPED) items.push(value);
          if (firstWins && items.length > 0) break;
        }
        return items;
      }
      case 'map': {
        const here = pointOf(message, field, point);
        const entries: Plain = {};
        for (const [key, item] of message.get(field)) {
          const value = this.element(field, item, keyPlace(place, String(key)), here, String(key));
          if (value !== DROPPED)
            Object.defineProperty(entries, String(key), { value, enumerable: true, writable: true, configurable: true });
        }
        return entries;
      }
    }
  }

  private element(
    field: DescField & { fieldKind: 'list' | 'map' },
    item: unknown,
    place: Place,
    point: string,
    name: string,
  ): unknown {
    if (field.scalar !== undefined) return scalarValue(field.scalar, item);
    if (field.enum !== undefined) return this.enumValue(field, item as number, place);
    return this.messageValue(item as ReflectMessage, place, point, name);
  }

  private messageValue(message: ReflectMessage, place: Place, point: string, name: string): unknown {
    const type = message.desc.typeName;
    if (type === 'google.protobuf.Any') return this.any(message.message as Any, place, point, name);
    const simple = wellKnownValue(this.api, message);
    if (simple !== undefined) return simple;
    return this.message(message, place, point, name) ?? DROPPED;
  }

  private any(any: Any, place: Place, point: string, name: string): unknown {
    const typeName = any.typeUrl.slice(any.typeUrl.lastIndexOf('/') + 1);
    // Empty, it enables a filter that is disabled by default.
    if (typeName === '' && point === 'envoy.config.route.v3.FilterConfig.config') return { '@type': '' };
    const type = this.api.registry.getMessage(typeName);
    if (type === undefined) {
      this.diagnostics.error(unknownTypeReason(this.api, name, typeName), whereOf(place));
      return DROPPED;
    }
    if (!isRegistered(point, typeName)) {
      this.notRegistered(typeName, place, point, name);
      return DROPPED;
    }
    const inner = reflect(type, fromBinary(type, any.value));
    const simple = wellKnownValue(this.api, inner);
    if (simple !== undefined) return { '@type': typeName, value: simple };
    const plain = this.message(inner, place, '', '');
    return plain === undefined ? DROPPED : { '@type': typeName, ...plain };
  }

  /** An extension that Sluice has, but for another place, or one that it does not have. */
  private notRegistered(typeName: string, place: Place, point: string, name: string): void {
    if (Object.values(EXTENSION_POINTS).some((names) => words(names).has(typeName))) {
      const allowed = [...words(EXTENSION_POINTS[point] ?? '')].join(', ');
      const hint = allowed === '' ? '' : `, these do: ${allowed}`;
      this.diagnostics.error(`${notRegisteredReason(name, typeName)}: it does not go here${hint}`, whereOf(place));
    } else {
      const what = name === '' ? typeName : `'${name}' (${typeName})`;
      if (this.optional) this.diagnostics.warn(`${what} is not supported by Sluice yet and optional: left out`, whereOf(place));
      else this.unsupported(what, place);
    }
  }

  /** Of a list in which the first supported element wins. */
  private isUsable(item: unknown, point: string): boolean {
    const holder = item as ReflectMessage;
    for (const field of holder.fields) {
      if (field.fieldKind !== 'message' || !holder.isSet(field)) continue;
      const value = holder.get(field);
      if (field.message.typeName === 'google.protobuf.Any') {
        const url = (value.message as Any).typeUrl;
        return isRegistered(point, url.slice(url.lastIndexOf('/') + 1));
      }
      return this.isUsable(value, pointOf(holder, field, point));
    }
    return true;
  }

  private enumValue(field: DescField, value: number, place: Place): unknown {
    const desc = field.enum;
    if (desc === undefined) return value;
    const name = desc.value[value]?.name;
    const supported = SUPPORTED_ENUM_VALUES[desc.typeName];
    if (name !== undefined && supported !== undefined && !words(supported).has(name)) {
      const outerRequired = this.required;
      this.required ||= NEVER_LEFT_OUT.has(fullName(field));
      this.unsupported(`${field.name}: ${name}`, place, `; supported: ${[...words(supported)].join(', ')}`);
      this.required = outerRequired;
      return desc.value[0].name;
    }
    return name ?? value;
  }

  private unsupportedField(field: DescField, place: Place): void {
    const outerRequired = this.required;
    this.required ||= NEVER_LEFT_OUT.has(field.message?.typeName ?? '') || NEVER_LEFT_OUT.has(fullName(field));
    this.report(`${fullName(field)} is not supported by Sluice yet`, whereOfKey(place));
    this.required = outerRequired;
  }

  private unsupported(what: string, place: Place, more = ''): void {
    this.report(`${what} is not supported by Sluice yet${more}`, whereOf(place));
  }

  private report(reason: string, where: { path: string; file?: string; line?: number; column?: number }): void {
    if (this.options.allowUnsupported && !this.required) this.diagnostics.warn(`${reason}: left out`, where);
    else this.diagnostics.error(reason, where);
  }
}

const WORDS = new Map<string, ReadonlySet<string>>();

/** The table's cells are words between white space. */
export function words(cell: string): ReadonlySet<string> {
  let set = WORDS.get(cell);
  if (set === undefined) {
    set = new Set(cell.split(/\s+/).filter((word) => word !== ''));
    WORDS.set(cell, set);
  }
  return set;
}

function supportedFields(type: DescMessage): ReadonlySet<string> | undefined {
  const cell = SUPPORTED_FIELDS[type.typeName];
  return cell === undefined ? undefined : words(cell);
}

function isRegistered(point: string, typeName: string): boolean {
  const cell = EXTENSION_POINTS[point];
  return cell !== undefined && words(cell).has(typeName);
}

export function fullName(field: DescField): string {
  return `${field.parent.typeName}.${field.name}`;
}

/** A TypedExtensionConfig takes the name of the field that holds it: by itself it could be anything. */
export function pointOf(message: { desc: DescMessage }, field: DescField, outer: string): string {
  return message.desc.typeName === TYPED_EXTENSION_CONFIG ? outer : fullName(field);
}

export const TYPED_EXTENSION_CONFIG = 'envoy.config.core.v3.TypedExtensionConfig';

function isExtensionHolder(message: ReflectMessage, field: DescField): boolean {
  return (
    field.message?.typeName === 'google.protobuf.Any' ||
    message.desc.typeName === 'envoy.config.cluster.v3.LoadBalancingPolicy.Policy'
  );
}

function isOptional(message: ReflectMessage): boolean {
  const field = message.desc.fields.find(({ name }) => name === 'is_optional');
  return field?.scalar === ScalarType.BOOL && message.get(field) === true;
}

function extensionName(message: ReflectMessage): string | undefined {
  const field = message.desc.fields.find(({ name }) => name === 'name');
  return field?.scalar === ScalarType.STRING ? (message.get(field) as string) : undefined;
}

function isAccepted(message: ReflectMessage, field: DescField): boolean {
  const accepted = ACCEPTED_VALUES[fullName(field)];
  if (accepted === undefined) return false;
  const value = message.get(field);
  if (field.fieldKind === 'scalar') return accepted.includes(value as boolean | number | string);
  if (field.fieldKind === 'enum') return accepted.includes(field.enum.value[value as number]?.name ?? '');
  if (field.fieldKind === 'message' && isWrapper(field.message)) {
    return accepted.includes((value as ReflectMessage).get(field.message.fields[0]) as boolean | number | string);
  }
  return false;
}

/** What an unset field reads as; undefined: it is left out. */
function unsetValue(field: DescField): unknown {
  if (field.fieldKind === 'list') return [];
  if (field.fieldKind === 'map') return {};
  if (field.fieldKind === 'message' || field.oneof !== undefined || field.proto.proto3Optional) return undefined;
  if (field.fieldKind === 'enum') return field.enum.values[0].name;
  return scalarDefault(field.scalar);
}

function scalarDefault(type: ScalarType): unknown {
  if (type === ScalarType.STRING) return '';
  if (type === ScalarType.BOOL) return false;
  return type === ScalarType.BYTES ? new Uint8Array() : 0;
}

function scalarValue(type: ScalarType, value: unknown): unknown {
  if (typeof value === 'bigint') return Number(value);
  // A copy of its own, so that it can be cloned without the buffer it was cut from.
  return type === ScalarType.BYTES ? (value as Uint8Array).slice() : value;
}

/** Messages with a value of their own; undefined: an ordinary message. */
function wellKnownValue(api: Api, message: ReflectMessage): unknown {
  const type = message.desc;
  if (isWrapper(type)) {
    const field = type.fields[0];
    return scalarValue(field.scalar ?? ScalarType.STRING, message.get(field));
  }
  switch (type.typeName) {
    case 'google.protobuf.Duration': {
      const { seconds, nanos } = message.message as Duration;
      return Number(seconds) * 1000 + nanos / 1e6;
    }
    case 'google.protobuf.Timestamp': {
      const { seconds, nanos } = message.message as Timestamp;
      return Number(seconds) * 1000 + nanos / 1e6;
    }
    case 'google.protobuf.Struct':
    case 'google.protobuf.Value':
    case 'google.protobuf.ListValue':
    case 'google.protobuf.FieldMask':
      return toJson(type, message.message, { registry: api.registry });
    default:
      return undefined;
  }
}
