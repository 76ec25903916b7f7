/**
 * Checks a message as Envoy does after parsing it: protoc-gen-validate's rules on every field, required oneofs, deprecated fields
 * and enum values (a warning, or an error for what is disallowed by default); all of it inside every Any as well.
 */
import { type DescEnum, type DescField, type DescOneof, fromBinary, type Message, ScalarType } from '@bufbuild/protobuf';
import { type ReflectMessage, reflect } from '@bufbuild/protobuf/reflect';
import type { Any, Duration } from '@bufbuild/protobuf/wkt';
import { isDeprecated, isDisallowed, isRequired, isUnchecked } from '../api/options.ts';
import type { Api } from '../api/registry.ts';
import type { Diagnostics } from '../errors.ts';
import { isWrapper } from '../json_scalar.ts';
import { unknownTypeReason } from '../normalize.ts';
import { fieldPlace, itemPlace, keyPlace, type Place, whereOf, whereOfKey } from '../source.ts';
import { type Rules, rulesOf } from './rules.ts';
import { checkAny, checkDuration, checkEnum, checkScalar } from './value_rules.ts';

export function validateMessage(api: Api, message: Message, place: Place, diagnostics: Diagnostics): void {
  new Validator(api, diagnostics).message(reflect(api.message(message.$typeName), message), place, '');
}

/** Deeper than any parser lets text nest. */
const MAX_DEPTH = 250;

class Validator {
  private readonly api: Api;
  private readonly diagnostics: Diagnostics;
  private depth = 0;

  constructor(api: Api, diagnostics: Diagnostics) {
    this.api = api;
    this.diagnostics = diagnostics;
  }

  message(message: ReflectMessage, place: Place, extensionName: string): void {
    const { desc } = message;
    if (isSimple(desc.typeName) || isWrapper(desc)) return;
    if (++this.depth > MAX_DEPTH) {
      this.diagnostics.error('nested too deeply', whereOf(place));
    } else if (desc.typeName === 'google.protobuf.Any') {
      this.any(message.message as Any, place, extensionName);
    } else {
      const unchecked = isUnchecked(this.api, desc);
      for (const oneof of desc.oneofs) if (!unchecked) this.requiredOneof(message, oneof, place);
      for (const field of desc.fields) this.field(message, field, fieldPlace(place, field.name), unchecked);
    }
    this.depth--;
  }

  private any(any: Any, place: Place, extensionName: string): void {
    if (any.typeUrl === '' && any.value.length === 0) return;
    const typeName = any.typeUrl.slice(any.typeUrl.lastIndexOf('/') + 1);
    const type = this.api.registry.getMessage(typeName);
    if (type === undefined) {
      this.diagnostics.error(unknownTypeReason(this.api, extensionName, typeName), whereOf(place));
      return;
    }
    let inner: Message;
    try {
      inner = fromBinary(type, any.value);
    } catch {
      this.diagnostics.error(`Unable to unpack as ${typeName}`, whereOf(place));
      return;
    }
    this.message(reflect(type, inner), place, '');
  }

  private requiredOneof(message: ReflectMessage, oneof: DescOneof, place: Place): void {
    if (!isRequired(this.api, oneof) || message.oneofCase(oneof) !== undefined) return;
    const members = oneof.fields.map(({ name }) => name).join(', ');
    this.failed(message, oneof.name, `value is required (one of ${members})`, place);
  }

  private field(message: ReflectMessage, field: DescField, place: Place, unchecked: boolean): void {
    const isSet = message.isSet(field);
    if (isSet) this.deprecation(field, place);
    const rules = unchecked ? null : rulesOf(this.api, field);
    const fail = (reason: string | undefined, at: Place = place): void => this.failed(message, field.name, reason, at);
    switch (field.fieldKind) {
      case 'scalar':
        if (rules !== null && (isSet || !hasPresence(field))) fail(checkScalar(field.scalar, rules.rule, message.get(field)));
        return;
      case 'enum':
        if (isSet) this.enumDeprecation(field.enum, message.get(field) as number, place);
        if (rules !== null && (isSet || !hasPresence(field)))
          fail(checkEnumValue(field.enum, rules, message.get(field) as number));
        return;
      case 'message':
        if (!isSet) {
          if (field.oneof === undefined && (rules?.required || rules?.rule.required === true)) fail('value is required');
          return;
        }
        this.value(message.get(field), rules, place, nameOf(message), fail);
        return;
      case 'list':
        this.list(field, message.get(field), rules, place, nameOf(message), fail);
        return;
      case 'map': {
        const map = message.get(field);
        if (rules !== null) fail(checkCount(rules, map.size, 'pair(s)', 'minPairs', 'maxPairs'));
        for (const [key, item] of map) {
          const here = keyPlace(place, String(key));
          if (rules?.keys !== undefined) fail(checkScalar(field.mapKey, rules.keys.rule, key), here);
          this.element(field, item, rules?.items ?? null, here, String(key), (reason) => fail(reason, here));
        }
      }
    }
  }

  private list(
    field: DescField & { fieldKind: 'list' },
    list: Iterable<unknown> & { size: number },
    rules: Rules | null,
    place: Place,
    name: string,
    fail: (reason: string | undefined, at?: Place) => void,
  ): void {
    if (rules !== null) {
      if (rules.rule.ignoreEmpty === true && list.size === 0) return;
      fail(checkCount(rules, list.size, 'item(s)', 'minItems', 'maxItems'));
      if (
        rules.rule.unique === true &&
        new Set([...list].map((item) => String(item))).size < list.size &&
        field.message === undefined
      ) {
        fail('repeated value must contain unique items');
      }
    }
    let index = 0;
    for (const item of list) {
      const here = itemPlace(place, index++);
      this.element(field, item, rules?.items ?? null, here, name, (reason) => fail(reason, here));
    }
  }

  private element(
    field: DescField & { fieldKind: 'list' | 'map' },
    item: unknown,
    rules: Rules | null,
    place: Place,
    name: string,
    fail: (reason: string | undefined) => void,
  ): void {
    if (field.scalar !== undefined) {
      if (rules !== null) fail(checkScalar(field.scalar, rules.rule, item));
    } else if (field.enum !== undefined) {
      this.enumDeprecation(field.enum, item as number, place);
      if (rules !== null) fail(checkEnumValue(field.enum, rules, item as number));
    } else {
      this.value(item as ReflectMessage, rules, place, name, fail);
    }
  }

  /** A message that is there. */
  private value(
    value: ReflectMessage,
    rules: Rules | null,
    place: Place,
    name: string,
    fail: (reason: string | undefined) => void,
  ): void {
    const type = value.desc;
    if (rules !== null) {
      if (isWrapper(type)) fail(checkScalar(type.fields[0].scalar ?? ScalarType.STRING, rules.rule, value.get(type.fields[0])));
      else if (type.typeName === 'google.protobuf.Duration') fail(checkDuration(rules.rule, value.message as Duration));
      else if (type.typeName === 'google.protobuf.Any') fail(checkAny(rules.rule, (value.message as Any).typeUrl));
      if (rules.skip) return;
    }
    this.message(value, place, nameOf(value) || name);
  }

  private deprecation(field: DescField, place: Place): void {
    if (!isDeprecated(field)) return;
    const file = field.parent.file.proto.name.split('/').at(-1);
    this.diagnostics.deprecatedFeatureUses++;
    const what = `Using deprecated option '${field.parent.typeName}.${field.name}' from file ${file}`;
    if (isDisallowed(this.api, field)) this.diagnostics.error(`${what}: it is disallowed by default`, whereOfKey(place));
    else this.diagnostics.warn(`${what}. This configuration will be removed from Envoy soon.`, whereOfKey(place));
  }

  private enumDeprecation(desc: DescEnum, value: number, place: Place): void {
    const known = desc.value[value];
    if (known?.proto.options?.deprecated !== true) return;
    this.diagnostics.deprecatedFeatureUses++;
    const file = desc.file.proto.name.split('/').at(-1);
    this.diagnostics.warn(`Using deprecated value ${known.name} for enum '${desc.typeName}' from file ${file}.`, whereOf(place));
  }

  private failed(message: ReflectMessage, field: string, reason: string | undefined, place: Place): void {
    if (reason === undefined) return;
    const member = field.replace(/(^|_)([a-z0-9])/g, (_match, _start, letter: string) => letter.toUpperCase());
    const type = message.desc.name;
    this.diagnostics.error(`Proto constraint validation failed (${type}ValidationError.${member}: ${reason})`, whereOf(place));
  }
}

function isSimple(typeName: string): boolean {
  return /^google\.protobuf\.(Duration|Timestamp|Struct|Value|ListValue|FieldMask|Empty)$/.test(typeName);
}

function hasPresence(field: DescField): boolean {
  return field.oneof !== undefined || field.proto.proto3Optional;
}

function checkEnumValue(desc: DescEnum, rules: Rules, value: number): string | undefined {
  return checkEnum(rules.rule, value, desc.value[value] !== undefined);
}

function checkCount({ rule }: Rules, count: number, unit: string, minName: string, maxName: string): string | undefined {
  const min = rule[minName] === undefined ? undefined : Number(rule[minName]);
  const max = rule[maxName] === undefined ? undefined : Number(rule[maxName]);
  if (min !== undefined && count < min) return `value must contain at least ${min} ${unit}`;
  if (max !== undefined && count > max) return `value must contain no more than ${max} ${unit}`;
  return undefined;
}

/** The free `name` beside an extension. */
function nameOf(message: ReflectMessage): string {
  const field = message.desc.fields.find(({ name }) => name === 'name');
  return field?.scalar === ScalarType.STRING ? String(message.get(field)) : '';
}
