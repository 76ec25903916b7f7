/** Puts the table of newer API elements into a descriptor set, file dependencies and file order included. */
import { create } from '@bufbuild/protobuf';
import {
  type DescriptorProto,
  DescriptorProtoSchema,
  type EnumDescriptorProto,
  EnumDescriptorProtoSchema,
  EnumValueDescriptorProtoSchema,
  type FieldDescriptorProto,
  FieldDescriptorProto_Label,
  FieldDescriptorProto_Type,
  FieldDescriptorProtoSchema,
  type FileDescriptorProto,
  FileDescriptorProtoSchema,
  type FileDescriptorSet,
  MessageOptionsSchema,
  OneofDescriptorProtoSchema,
} from '@bufbuild/protobuf/wkt';
import { NEWER_API } from './additions_table.ts';

export function addNewerApi(set: FileDescriptorSet, table: Record<string, string> = NEWER_API): void {
  new Additions(set).add(table);
}

interface Declaration {
  kind: 'message' | 'enum';
  /** Relative to the package: `Outer.Inner`. */
  name: string;
  lines: string[][];
}

class Additions {
  private readonly set: FileDescriptorSet;
  private readonly files = new Map<string, FileDescriptorProto>();
  private readonly messages = new Map<string, DescriptorProto>();
  private readonly enums = new Map<string, EnumDescriptorProto>();
  private readonly fileOfType = new Map<string, FileDescriptorProto>();

  constructor(set: FileDescriptorSet) {
    this.set = set;
    for (const file of set.file) {
      this.files.set(file.name, file);
      for (const message of file.messageType) this.index(file, `${file.package}.${message.name}`, message);
      for (const desc of file.enumType) this.indexEnum(file, `${file.package}.${desc.name}`, desc);
    }
  }

  /** All declarations first, so that fields may name any of them. */
  add(table: Record<string, string>): void {
    const additions = Object.entries(table).map(([name, text]) => ({ file: this.fileNamed(name), declarations: parse(text) }));
    for (const { file, declarations } of additions) for (const declaration of declarations) this.declareType(file, declaration);
    for (const { file, declarations } of additions) {
      for (const { kind, name, lines } of declarations) {
        const fullName = `${file.package}.${name}`;
        for (const line of lines) {
          if (kind === 'message') this.addField(file, found(this.messages.get(fullName), fullName), fullName, line);
          else this.addValue(found(this.enums.get(fullName), fullName), line);
        }
      }
    }
    this.sortFiles();
  }

  private index(file: FileDescriptorProto, fullName: string, message: DescriptorProto): void {
    this.messages.set(fullName, message);
    this.fileOfType.set(fullName, file);
    for (const inner of message.nestedType) this.index(file, `${fullName}.${inner.name}`, inner);
    for (const inner of message.enumType) this.indexEnum(file, `${fullName}.${inner.name}`, inner);
  }

  private indexEnum(file: FileDescriptorProto, fullName: string, desc: EnumDescriptorProto): void {
    this.enums.set(fullName, desc);
    this.fileOfType.set(fullName, file);
  }

  private fileNamed(name: string): FileDescriptorProto {
    let file = this.files.get(name);
    if (file === undefined) {
      file = create(FileDescriptorProtoSchema, { name, package: name.split('/').slice(0, -1).join('.'), syntax: 'proto3' });
      this.files.set(name, file);
      this.set.file.push(file);
    }
    return file;
  }

  private declareType(file: FileDescriptorProto, { kind, name }: Declaration): void {
    const fullName = `${file.package}.${name}`;
    if (this.fileOfType.has(fullName)) return;
    const parts = name.split('.');
    const own = parts.pop() ?? '';
    const parent = parts.length === 0 ? undefined : found(this.messages.get(`${file.package}.${parts.join('.')}`), fullName);
    if (kind === 'message') {
      const message = create(DescriptorProtoSchema, { name: own });
      (parent?.nestedType ?? file.messageType).push(message);
      this.index(file, fullName, message);
    } else {
      const desc = create(EnumDescriptorProtoSchema, { name: own });
      (parent?.enumType ?? file.enumType).push(desc);
      this.indexEnum(file, fullName, desc);
    }
  }

  private addValue(desc: EnumDescriptorProto, [name, number]: string[]): void {
    desc.value.push(create(EnumValueDescriptorProtoSchema, { name, number: Number(number) }));
  }

  /** `name number [repeated | map KEY] type [in ONEOF]` */
  private addField(file: FileDescriptorProto, message: DescriptorProto, fullName: string, words: string[]): void {
    const [name, number, ...rest] = words;
    const isMap = rest[0] === 'map';
    const isList = rest[0] === 'repeated';
    const field = isMap
      ? this.mapField(file, message, fullName, name, Number(number), rest[1], rest[2])
      : this.field(file, name, Number(number), rest[isList ? 1 : 0]);
    if (isList) field.label = FieldDescriptorProto_Label.REPEATED;
    if (rest.at(-2) === 'in') field.oneofIndex = oneofNamed(message, rest.at(-1) ?? '');
    message.field.push(field);
  }

  private field(file: FileDescriptorProto, name: string, number: number, type: string): FieldDescriptorProto {
    const field = create(FieldDescriptorProtoSchema, {
      name,
      number,
      label: FieldDescriptorProto_Label.OPTIONAL,
      jsonName: name.replace(/_(.)/g, (_match, letter: string) => letter.toUpperCase()),
    });
    const scalar = SCALARS[type];
    if (scalar !== undefined) {
      field.type = scalar;
      return field;
    }
    const home = found(this.fileOfType.get(type), type);
    field.type = this.enums.has(type) ? FieldDescriptorProto_Type.ENUM : FieldDescriptorProto_Type.MESSAGE;
    field.typeName = `.${type}`;
    if (home !== file && !file.dependency.includes(home.name)) file.dependency.push(home.name);
    return field;
  }

  private mapField(
    file: FileDescriptorProto,
    message: DescriptorProto,
    fullName: string,
    name: string,
    number: number,
    key: string,
    value: string,
  ): FieldDescriptorProto {
    const entryName = `${name.replace(/(^|_)(.)/g, (_match, _start, letter: string) => letter.toUpperCase())}Entry`;
    const entry = create(DescriptorProtoSchema, {
      name: entryName,
      field: [this.field(file, 'key', 1, key), this.field(file, 'value', 2, value)],
      options: create(MessageOptionsSchema, { mapEntry: true }),
    });
    message.nestedType.push(entry);
    this.index(file, `${fullName}.${entryName}`, entry);
    const field = this.field(file, name, number, `${fullName}.${entryName}`);
    field.label = FieldDescriptorProto_Label.REPEATED;
    return field;
  }

  /** Files after what they import. */
  private sortFiles(): void {
    const sorted: FileDescriptorProto[] = [];
    const seen = new Set<string>();
    const visit = (file: FileDescriptorProto): void => {
      if (seen.has(file.name)) return;
      seen.add(file.name);
      for (const name of file.dependency) visit(found(this.files.get(name), name));
      sorted.push(file);
    };
    for (const file of this.set.file) visit(file);
    this.set.file.splice(0, this.set.file.length, ...sorted);
  }
}

const SCALARS: Record<string, FieldDescriptorProto_Type | undefined> = {
  double: FieldDescriptorProto_Type.DOUBLE,
  float: FieldDescriptorProto_Type.FLOAT,
  int32: FieldDescriptorProto_Type.INT32,
  int64: FieldDescriptorProto_Type.INT64,
  uint32: FieldDescriptorProto_Type.UINT32,
  uint64: FieldDescriptorProto_Type.UINT64,
  bool: FieldDescriptorProto_Type.BOOL,
  string: FieldDescriptorProto_Type.STRING,
  bytes: FieldDescriptorProto_Type.BYTES,
};

function parse(text: string): Declaration[] {
  const declarations: Declaration[] = [];
  for (const line of text.split('\n')) {
    const words = line.trim().split(/\s+/);
    if (words[0] === 'message' || words[0] === 'enum') declarations.push({ kind: words[0], name: words[1], lines: [] });
    else if (words[0] !== '') declarations.at(-1)?.lines.push(words);
  }
  return declarations;
}

function oneofNamed(message: DescriptorProto, name: string): number {
  const index = message.oneofDecl.findIndex((oneof) => oneof.name === name);
  if (index !== -1) return index;
  return message.oneofDecl.push(create(OneofDescriptorProtoSchema, { name })) - 1;
}

function found<T>(what: T | undefined, name: string): T {
  if (what === undefined) throw new Error(`${name} is not part of the Envoy API that is installed`);
  return what;
}
