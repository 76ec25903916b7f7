/**
 * A tree of text -> proto3 JSON of a message, with positions. What a strict proto3 JSON parser would refuse but Envoy accepts is put
 * right here: enum names in any case, a single value where a list is expected, numbers written as strings. Everything that is wrong
 * is reported where it stands, all of it. TypedStruct (xds and udpa) is replaced by the message it carries, so that nothing later
 * has to know it.
 */
import type { DescField, DescMessage, JsonObject, JsonValue } from '@bufbuild/protobuf';
import type { Api } from './api/registry.ts';
import type { Diagnostics } from './errors.ts';
import { isWrapper, parseEnum, parseScalar, parseWellKnownString, ScalarMistake } from './json_scalar.ts';
import type { ConfigNode, MapEntry, MapNode, Place, Position, Positions } from './source.ts';
import { fieldPlace, itemPlace, keyPlace, whereOf } from './source.ts';
import { didYouMean } from './suggest.ts';

export interface NormalizeOptions {
  /** Unknown fields are dropped with a warning instead of refused. */
  allowUnknownFields: boolean;
}

export interface Normalized {
  json: JsonObject;
  positions: Positions;
}

export function normalize(
  api: Api,
  type: DescMessage,
  node: ConfigNode,
  diagnostics: Diagnostics,
  options: NormalizeOptions,
  at: Place = { path: '', positions: undefined, at: undefined },
): Normalized {
  const normalizer = new Normalizer(api, type.typeName, diagnostics, options);
  const positions = positionsAt(node.at);
  const json = normalizer.message(type, node, { ...at, positions, at: node.at });
  return { json: isObject(json) ? json : {}, positions };
}

const MAX_NODES = 1_000_000;
const TYPED_STRUCTS = new Set(['xds.type.v3.TypedStruct', 'udpa.type.v1.TypedStruct']);

function positionsAt(at: Position, keyAt?: Position): Positions {
  return { at, keyAt, children: new Map() };
}

function isObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

class Normalizer {
  private readonly api: Api;
  private readonly topType: string;
  private readonly diagnostics: Diagnostics;
  private readonly options: NormalizeOptions;
  private nodes = 0;

  constructor(api: Api, topType: string, diagnostics: Diagnostics, options: NormalizeOptions) {
    this.api = api;
    this.topType = topType;
    this.diagnostics = diagnostics;
    this.options = options;
  }

  /** Undefined: wrong or null. Positions of children are written into the place's tree on the way. */
  message(type: DescMessage, node: ConfigNode, place: Place, extensionName = ''): JsonValue | undefined {
    if (!this.count(place)) return undefined;
    if (isWrapper(type)) return this.scalarField(type.fields[0], node, place);
    switch (type.typeName) {
      case 'google.protobuf.Struct':
        return node.kind === 'map' ? this.plainJson(node, place) : this.wrongKind('an object', node, place);
      case 'google.protobuf.ListValue':
        return node.kind === 'list' ? this.plainJson(node, place) : this.wrongKind('a list', node, place);
      case 'google.protobuf.Value':
        return this.plainJson(node, place);
      case 'google.protobuf.Duration':
      case 'google.protobuf.Timestamp':
      case 'google.protobuf.FieldMask':
        return this.attempt(node, place, (text) => parseWellKnownString(type, text));
      case 'google.protobuf.Any':
        return node.kind === 'map' ? this.any(node, place, extensionName) : this.wrongKind('an object', node, place);
    }
    return node.kind === 'map' ? this.fields(type, node.entries, place) : this.wrongKind('an object', node, place);
  }

  private fields(type: DescMessage, entries: readonly MapEntry[], place: Place): JsonObject {
    const json: JsonObject = {};
    const known = fieldsByName(type);
    const chosen = new Map<string, string>();
    for (const entry of entries) {
      const field = known.get(entry.key);
      if (field === undefined) {
        this.unknownField(type, entry, place);
        continue;
      }
      const here = this.child(place, field.name, entry.value.at, fieldPlace, entry.keyAt);
      if (entry.value.kind === 'scalar' && entry.value.value === null && field.message?.typeName !== 'google.protobuf.Value')
        continue;
      if (field.jsonName in json) {
        this.error(`field '${field.name}' is there twice (as ${entry.key})`, here, entry.keyAt);
        continue;
      }
      const other = field.oneof === undefined ? undefined : chosen.get(field.oneof.name);
      if (field.oneof !== undefined && other !== undefined) {
        this.error(`only one of ${oneofMembers(field)} may be set, and '${other}' is already`, here, entry.keyAt);
        continue;
      }
      if (field.oneof !== undefined) chosen.set(field.oneof.name, field.name);
      const value = this.field(field, entry.value, here, siblingName(entries));
      if (value !== undefined) json[field.jsonName] = value;
    }
    return json;
  }

  private field(field: DescField, node: ConfigNode, place: Place, extensionName: string): JsonValue | undefined {
    if (field.fieldKind === 'list') {
      const items = node.kind === 'list' ? node.items : [node];
      const values: JsonValue[] = [];
      items.forEach((item, index) => {
        const here = this.child(place, index, item.at, (parent) => itemPlace(parent, index));
        const value = this.element(field, item, here);
        if (value !== undefined) values.push(value);
      });
      return values;
    }
    if (field.fieldKind === 'map') {
      if (node.kind !== 'map') return this.wrongKind('an object', node, place);
      const values: JsonObject = Object.create(null) as JsonObject;
      for (const entry of node.entries) {
        const here = this.child(place, entry.key, entry.value.at, keyPlace, entry.keyAt);
        if (
          this.attempt({ kind: 'scalar', at: entry.keyAt, value: entry.key, text: entry.key }, here, (key) =>
            mapKey(field, key),
          ) === undefined
        )
          continue;
        const value = this.element(field, entry.value, here, entry.key);
        if (value !== undefined) values[entry.key] = value;
      }
      return values;
    }
    if (field.fieldKind === 'message') return this.message(field.message, node, place, extensionName);
    return this.scalarField(field, node, place);
  }

  /** One element of a list or map. */
  private element(field: DescField, node: ConfigNode, place: Place, extensionName = ''): JsonValue | undefined {
    const message = field.fieldKind === 'list' || field.fieldKind === 'map' ? field.message : undefined;
    if (node.kind === 'scalar' && node.value === null && message?.typeName !== 'google.protobuf.Value') {
      this.error('null is not allowed here', place);
      return undefined;
    }
    return message === undefined ? this.scalarField(field, node, place) : this.message(message, node, place, extensionName);
  }

  private scalarField(field: DescField, node: ConfigNode, place: Place): JsonValue | undefined {
    if (!this.count(place)) return undefined;
    if (node.kind === 'scalar' && node.value === null) return undefined;
    if (field.enum !== undefined) {
      const desc = field.enum;
      return this.attempt(node, place, (value) => parseEnum(desc, value));
    }
    const scalar = field.scalar;
    if (scalar === undefined) return undefined;
    return this.attempt(node, place, (value) => parseScalar(scalar, value));
  }

  private any(node: MapNode, place: Place, extensionName: string): JsonValue | undefined {
    const typeEntry = node.entries.find((entry) => entry.key === '@type');
    if (typeEntry === undefined) {
      if (node.entries.length === 0) return {};
      this.error(
        '"@type" is missing: it names the message, such as type.googleapis.com/envoy.extensions.filters.http.router.v3.Router',
        place,
      );
      return undefined;
    }
    const rest = node.entries.filter((entry) => entry !== typeEntry);
    return this.anyOf(scalarText(typeEntry.value), rest, node, typeEntry.value.at, place, extensionName);
  }

  private anyOf(
    url: string,
    entries: readonly MapEntry[],
    node: MapNode,
    urlAt: Position,
    place: Place,
    extensionName: string,
  ): JsonValue | undefined {
    const name = url.slice(url.lastIndexOf('/') + 1);
    const type = this.api.registry.getMessage(name);
    if (type === undefined) {
      this.error(unknownTypeReason(this.api, extensionName, name), place, urlAt);
      return undefined;
    }
    if (TYPED_STRUCTS.has(name)) return this.typedStruct(type, entries, node, place, extensionName);
    if (hasSpecialJson(type)) {
      const value = entries.find((entry) => entry.key === 'value');
      const extra = entries.find((entry) => entry !== value);
      if (extra !== undefined) this.unknownField(type, extra, place);
      const json =
        value === undefined
          ? undefined
          : this.message(type, value.value, this.child(place, 'value', value.value.at, fieldPlace, value.keyAt));
      return json === undefined ? undefined : { '@type': ANY_PREFIX + name, value: json };
    }
    return { '@type': ANY_PREFIX + name, ...this.fields(type, entries, place) };
  }

  /** One without type_url is configuration of its own (the golang filters take such): it stays what it is. */
  private typedStruct(
    type: DescMessage,
    entries: readonly MapEntry[],
    node: MapNode,
    place: Place,
    extensionName: string,
  ): JsonValue | undefined {
    const url = entries.find((entry) => entry.key === 'type_url' || entry.key === 'typeUrl');
    if (url === undefined) return { '@type': ANY_PREFIX + type.typeName, ...this.fields(type, entries, place) };
    const value = entries.find((entry) => entry.key === 'value');
    const extra = entries.find((entry) => entry !== url && entry !== value);
    if (extra !== undefined) this.unknownField(type, extra, place);
    const inner = value?.value;
    if (inner === undefined || (inner.kind === 'scalar' && inner.value === null)) {
      return this.anyOf(scalarText(url.value), [], node, url.value.at, place, extensionName);
    }
    if (inner.kind !== 'map') return this.wrongKind('an object', inner, place);
    return this.anyOf(scalarText(url.value), inner.entries, node, url.value.at, place, extensionName);
  }

  private plainJson(node: ConfigNode, place: Place): JsonValue | undefined {
    if (!this.count(place)) return undefined;
    if (node.kind === 'scalar') return node.value;
    if (node.kind === 'list') return node.items.map((item) => this.plainJson(item, place) ?? null);
    const json: JsonObject = Object.create(null) as JsonObject;
    for (const entry of node.entries) json[entry.key] = this.plainJson(entry.value, place) ?? null;
    return json;
  }

  private unknownField(type: DescMessage, entry: MapEntry, place: Place): void {
    const where = place.path === '' ? '' : ` @ ${place.path}`;
    const names = type.fields.map((field) => field.name);
    const reason =
      `Protobuf message (type ${this.topType} reason INVALID_ARGUMENT: invalid JSON in ${this.topType}${where}: ` +
      `message ${type.typeName}: no such field: '${entry.key}') has unknown fields${didYouMean(entry.key, names)}`;
    const position = whereOf({
      path: place.path === '' ? entry.key : `${place.path}.${entry.key}`,
      positions: undefined,
      at: entry.keyAt,
    });
    if (this.options.allowUnknownFields) {
      this.diagnostics.unknownFields++;
      this.diagnostics.warn(reason, position);
    } else {
      this.diagnostics.error(reason, position);
    }
  }

  private attempt(node: ConfigNode, place: Place, parse: (value: string | number | boolean) => JsonValue): JsonValue | undefined {
    if (node.kind !== 'scalar') return this.wrongKind('a single value', node, place);
    if (node.value === null) return undefined;
    try {
      return parse(node.value);
    } catch (error) {
      if (!(error instanceof ScalarMistake)) throw error;
      const shown = typeof node.value === 'string' ? JSON.stringify(node.value) : node.text;
      this.error(`${shown} ${error.message}`, place);
      return undefined;
    }
  }

  private wrongKind(expected: string, node: ConfigNode, place: Place): undefined {
    if (node.kind === 'scalar' && node.value === null) return;
    const found = node.kind === 'map' ? 'an object' : node.kind === 'list' ? 'a list' : JSON.stringify(node.value);
    this.error(`expected ${expected}, found ${found}`, place);
  }

  /** Aliases may share nodes, so that a small text can be a huge tree. */
  private count(place: Place): boolean {
    if (++this.nodes === MAX_NODES) this.error('the configuration is too large', place);
    return this.nodes < MAX_NODES;
  }

  private child(
    place: Place,
    key: string | number,
    at: Position,
    make: (place: Place, key: never) => Place,
    keyAt?: Position,
  ): Place {
    place.positions?.children.set(key, positionsAt(at, keyAt));
    return make(place, key as never);
  }

  private error(reason: string, place: Place, at: Position | undefined = place.at): void {
    this.diagnostics.error(reason, whereOf({ path: place.path, positions: undefined, at }));
  }
}

const ANY_PREFIX = 'type.googleapis.com/';

const SPECIAL_JSON = new Set(
  ['Struct', 'ListValue', 'Value', 'Duration', 'Timestamp', 'FieldMask', 'Any'].map((name) => `google.protobuf.${name}`),
);

/** Its JSON form is not an object of its fields: in an Any it stands under `value`. */
function hasSpecialJson(type: DescMessage): boolean {
  return isWrapper(type) || SPECIAL_JSON.has(type.typeName);
}

/** Envoy's words for an extension that nobody implements. */
export function notRegisteredReason(extensionName: string, typeName: string): string {
  return `Didn't find a registered implementation for '${extensionName}' with type URL: '${typeName}'`;
}

/** The same; a type that exists nowhere gets the nearest one that does. */
export function unknownTypeReason(api: Api, extensionName: string, typeName: string): string {
  const reason = notRegisteredReason(extensionName, typeName);
  if (/^envoy\..*\.v2(alpha)?\d*\./.test(typeName)) return `${reason} (the v2 API is gone: use the v3 message)`;
  const names: string[] = [];
  for (const type of api.registry) if (type.kind === 'message' && type.parent === undefined) names.push(type.typeName);
  return reason + didYouMean(typeName, names);
}

const namesByType = new WeakMap<DescMessage, Map<string, DescField>>();

/** Both spellings of every field. */
function fieldsByName(type: DescMessage): Map<string, DescField> {
  let names = namesByType.get(type);
  if (names === undefined) {
    names = new Map();
    for (const field of type.fields) names.set(field.jsonName, field).set(field.name, field);
    namesByType.set(type, names);
  }
  return names;
}

function oneofMembers(field: DescField): string {
  return (field.oneof?.fields ?? []).map((member) => member.name).join(', ');
}

/** The free `name` beside a `typed_config`. */
function siblingName(entries: readonly MapEntry[]): string {
  const entry = entries.find(({ key }) => key === 'name');
  return entry === undefined ? '' : scalarText(entry.value);
}

function scalarText(node: ConfigNode): string {
  return node.kind === 'scalar' ? node.text : '';
}

function mapKey(field: DescField & { fieldKind: 'map' }, key: string | number | boolean): JsonValue {
  if (field.mapKey === 8) {
    if (key !== 'true' && key !== 'false') throw new ScalarMistake('is not true or false');
    return key;
  }
  return parseScalar(field.mapKey, key);
}
