/** TypeScript interfaces of the plain objects for everything in the table of supported fields: the text of `types.gen.ts`. */
import { type DescEnum, type DescField, type DescMessage, ScalarType } from '@bufbuild/protobuf';
import { type Api, api } from './api/registry.ts';
import { isWrapper } from './json_scalar.ts';
import { fullName, TYPED_EXTENSION_CONFIG, words } from './plain.ts';
import { EXTENSION_POINTS, SUPPORTED_ENUM_VALUES, SUPPORTED_FIELDS } from './supported.ts';

export function configTypes(): string {
  return new TypeWriter(api()).write();
}

const HEAD = `/**
 * The plain form of every supported message (the conventions are in plain.ts).
 * Written by scripts/gen-config-types.ts from supported.ts: do not edit.
 */
// biome-ignore-all format: generated
/** Arbitrary JSON (Struct and Value). */
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
`;

class TypeWriter {
  private readonly api: Api;
  private readonly names = new Map<string, string>();
  private readonly enums = new Map<string, DescEnum>();

  constructor(definitions: Api) {
    this.api = definitions;
  }

  write(): string {
    const types = Object.keys(SUPPORTED_FIELDS).map((name) => this.api.message(name));
    for (const type of types)
      for (const field of this.fieldsOf(type)) if (field.enum !== undefined) this.enums.set(field.enum.typeName, field.enum);
    this.nameAll([...types, ...this.enums.values()]);
    const enums = [...this.enums.values()].map((desc) => this.enumText(desc));
    const messages = types.map((type) => this.messageText(type));
    return [HEAD, ...messages, ...enums].join('\n');
  }

  private fieldsOf(type: DescMessage): DescField[] {
    return [...words(SUPPORTED_FIELDS[type.typeName])].map((name) => {
      const field = type.fields.find((each) => each.name === name);
      if (field === undefined) throw new Error(`${type.typeName} has no field ${name}`);
      return field;
    });
  }

  /** Short names; those that clash (or say nothing) get their package's last part in front. */
  private nameAll(types: readonly (DescMessage | DescEnum)[]): void {
    const short = (type: DescMessage | DescEnum) => type.typeName.slice(type.file.proto.package.length + 1).replaceAll('.', '');
    const uses = new Map<string, number>();
    for (const type of types) uses.set(short(type), (uses.get(short(type)) ?? 0) + 1);
    const prefixed = (type: DescMessage | DescEnum, depth: number): string =>
      type.file.proto.package
        .split('.')
        .slice(-1 - depth, -1)
        .map((part) => part.replace(/(^|_)([a-z])/g, (_match, _start, letter: string) => letter.toUpperCase()))
        .join('') + short(type);
    const longUses = new Map<string, number>();
    for (const type of types) longUses.set(prefixed(type, 1), (longUses.get(prefixed(type, 1)) ?? 0) + 1);
    for (const type of types) {
      const name = short(type);
      const long = longUses.get(prefixed(type, 1)) === 1 ? prefixed(type, 1) : prefixed(type, 2);
      this.names.set(type.typeName, uses.get(name) === 1 && name !== 'Config' ? name : long);
    }
    const taken = new Set(this.names.values());
    if (taken.size !== this.names.size) throw new Error('two types have the same name');
  }

  private enumText(desc: DescEnum): string {
    const supported = SUPPORTED_ENUM_VALUES[desc.typeName];
    const values = desc.values.filter(({ name }) => supported === undefined || words(supported).has(name));
    return `/** ${desc.typeName} */\nexport type ${this.names.get(desc.typeName)} = ${values.map(({ name }) => `'${name}'`).join(' | ')};\n`;
  }

  private messageText(type: DescMessage): string {
    const generic = type.typeName === TYPED_EXTENSION_CONFIG;
    const name = `${this.names.get(type.typeName)}${generic ? '<T>' : ''}`;
    const fields = this.fieldsOf(type).map(
      (field) => `  ${field.localName}${isOptional(field) ? '?' : ''}: ${this.fieldType(field, generic)};\n`,
    );
    if (fields.length === 0) return `/** ${type.typeName} */\nexport type ${name} = Record<never, never>;\n`;
    return `/** ${type.typeName} */\nexport interface ${name} {\n${fields.join('')}}\n`;
  }

  private fieldType(field: DescField, generic: boolean): string {
    const element = this.elementType(field, generic);
    if (field.fieldKind === 'map') return `Record<string, ${element}>`;
    if (field.fieldKind !== 'list') return element;
    return /[ |]/.test(element) && !element.endsWith('>') ? `(${element})[]` : `${element}[]`;
  }

  private elementType(field: DescField, generic: boolean): string {
    if (field.enum !== undefined) return this.nameOf(field.enum.typeName);
    if (field.message !== undefined) return this.messageType(field, field.message, generic);
    return scalarType(field.scalar ?? ScalarType.STRING);
  }

  private messageType(field: DescField, type: DescMessage, generic: boolean): string {
    if (isWrapper(type)) return scalarType(type.fields[0].scalar ?? ScalarType.STRING);
    switch (type.typeName) {
      case 'google.protobuf.Any':
        return generic ? 'T' : this.extensions(field);
      case TYPED_EXTENSION_CONFIG:
        return `${this.nameOf(type.typeName)}<${this.extensions(field)}>`;
      case 'google.protobuf.Duration':
      case 'google.protobuf.Timestamp':
        return 'number';
      case 'google.protobuf.Struct':
        return '{ [key: string]: Json }';
      case 'google.protobuf.Value':
        return 'Json';
      case 'google.protobuf.ListValue':
        return 'Json[]';
      case 'google.protobuf.FieldMask':
        return 'string';
      default:
        return this.nameOf(type.typeName);
    }
  }

  private extensions(field: DescField): string {
    const point = fullName(field);
    const cell = EXTENSION_POINTS[point];
    if (cell === undefined) throw new Error(`${point} is no extension point`);
    const names = [...words(cell)];
    return names.length === 0 ? 'never' : names.map((name) => `({ '@type': '${name}' } & ${this.anyContents(name)})`).join(' | ');
  }

  /** Well-known types stand under `value`. */
  private anyContents(typeName: string): string {
    const type = WELL_KNOWN_IN_ANY[typeName];
    return type === undefined ? this.nameOf(typeName) : `{ value: ${type} }`;
  }

  private nameOf(typeName: string): string {
    const name = this.names.get(typeName);
    if (name === undefined) throw new Error(`${typeName} is used but not in the table`);
    return name;
  }
}

const WELL_KNOWN_IN_ANY: Record<string, string> = {
  'google.protobuf.StringValue': 'string',
  'google.protobuf.BytesValue': 'Uint8Array',
  'google.protobuf.Struct': '{ [key: string]: Json }',
  'google.protobuf.Value': 'Json',
  'google.protobuf.ListValue': 'Json[]',
};

function isOptional(field: DescField): boolean {
  if (field.fieldKind === 'list' || field.fieldKind === 'map') return false;
  return field.fieldKind === 'message' || field.oneof !== undefined || field.proto.proto3Optional;
}

function scalarType(type: ScalarType): string {
  if (type === ScalarType.STRING) return 'string';
  if (type === ScalarType.BOOL) return 'boolean';
  return type === ScalarType.BYTES ? 'Uint8Array' : 'number';
}
