/**
 * Reads what the host needs to know of a module before it is compiled: signatures of imports and exports (which the JavaScript API
 * does not tell), memories, the ABI marker, function names of the `name` section, sizes. Follows the WebAssembly core specification's
 * binary format; function bodies are not looked at. Throws ModuleError for bytes that are no module; what it reads is bounded by them.
 */

export class ModuleError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'ModuleError';
  }
}

export type ExternKind = 'function' | 'table' | 'memory' | 'global' | 'tag';

export interface ModuleImport {
  readonly module: string;
  readonly name: string;
  readonly kind: ExternKind;
  /** Of functions: `iii:i`. */
  readonly signature: string;
}

export interface ModuleExport {
  readonly name: string;
  readonly kind: ExternKind;
  readonly index: number;
  readonly signature: string;
}

export interface ModuleMemory {
  readonly imported: boolean;
  readonly shared: boolean;
  readonly is64: boolean;
  /** In pages of 64 KiB. */
  readonly minimum: number;
  /** Undefined: none. */
  readonly maximum: number | undefined;
}

export interface ModuleSection {
  readonly id: number;
  /** Of custom sections. */
  readonly name: string;
  /** Of the contents. */
  readonly start: number;
  readonly end: number;
}

export interface ModuleInfo {
  readonly sections: readonly ModuleSection[];
  readonly imports: readonly ModuleImport[];
  readonly exports: readonly ModuleExport[];
  readonly memories: readonly ModuleMemory[];
  /** Functions with a body. */
  readonly functionCount: number;
  readonly hasStart: boolean;
  /** Of the marker export, or ''. Unknown markers give their own text. */
  readonly abiVersion: string;
  readonly sizeBytes: number;
}

const SECTION = { custom: 0, type: 1, import: 2, function: 3, memory: 5, export: 7, start: 8 } as const;
const KINDS: readonly ExternKind[] = ['function', 'table', 'memory', 'global', 'tag'];
const TYPE_LETTERS: Record<number, string> = { 127: 'i', 126: 'I', 125: 'f', 124: 'F', 123: 'v' };
const MARKER = 'proxy_abi_version_';
export const PAGE_BYTES = 65536;

/** Throws ModuleError. */
export function readModule(bytes: Uint8Array): ModuleInfo {
  const reader = new Reader(bytes, 0, bytes.length);
  if (bytes.length < 8 || reader.u32() !== 0x6d736100) throw new ModuleError('not a WebAssembly module (no magic number)');
  const version = reader.u32();
  if (version !== 1) throw new ModuleError(`WebAssembly binary version ${version & 0xffff} is not supported (1 is)`);
  return new ModuleParser(bytes).parse(reader);
}

class ModuleParser {
  private readonly bytes: Uint8Array;
  private readonly sections: ModuleSection[] = [];
  private readonly types: string[] = [];
  private readonly functionTypes: number[] = [];
  private readonly imports: ModuleImport[] = [];
  private readonly exports: ModuleExport[] = [];
  private readonly memories: ModuleMemory[] = [];
  private functionCount = 0;
  private hasStart = false;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }

  parse(reader: Reader): ModuleInfo {
    while (!reader.done) {
      const id = reader.byte();
      const size = reader.leb();
      const start = reader.at;
      const end = start + size;
      if (end > this.bytes.length) throw new ModuleError(`section ${id} ends beyond the module`);
      const section = new Reader(this.bytes, start, end);
      this.sections.push({ id, name: id === SECTION.custom ? section.name() : '', start: section.at, end });
      this.section(id, section);
      reader.at = end;
    }
    return {
      sections: this.sections,
      imports: this.imports,
      exports: this.exports,
      memories: this.memories,
      functionCount: this.functionCount,
      hasStart: this.hasStart,
      abiVersion: markerOf(this.exports),
      sizeBytes: this.bytes.length,
    };
  }

  private section(id: number, section: Reader): void {
    switch (id) {
      case SECTION.type:
        this.typeSection(section);
        break;
      case SECTION.import:
        section.list(() => this.import(section));
        break;
      case SECTION.function:
        section.list(() => {
          this.functionCount++;
          this.functionTypes.push(section.leb());
        });
        break;
      case SECTION.memory:
        section.list(() => {
          this.memories.push(section.memory(false));
        });
        break;
      case SECTION.export:
        section.list(() => {
          const name = section.name();
          const kind = section.kind();
          const index = section.leb();
          this.exports.push({ name, kind, index, signature: kind === 'function' ? this.signatureOf(index) : '' });
        });
        break;
      case SECTION.start:
        this.hasStart = true;
        break;
    }
  }

  /** Types that are no plain functions (GC proposal ...) end what is known of types: signatures then read `?`. */
  private typeSection(section: Reader): void {
    let known = true;
    section.list(() => {
      if (!known) return;
      if (section.byte() !== 0x60) {
        known = false;
        return;
      }
      this.types.push(`${section.valueTypes()}:${section.valueTypes()}`);
    });
  }

  private import(section: Reader): void {
    const module = section.name();
    const name = section.name();
    const kind = section.kind();
    let signature = '';
    switch (kind) {
      case 'function': {
        const type = section.leb();
        this.functionTypes.push(type);
        signature = this.types[type] ?? '?';
        break;
      }
      case 'table':
        section.byte();
        section.limits();
        break;
      case 'memory':
        this.memories.push(section.memory(true));
        break;
      case 'global':
        section.byte();
        section.byte();
        break;
      case 'tag':
        section.byte();
        section.leb();
        break;
    }
    this.imports.push({ module, name, kind, signature });
  }

  private signatureOf(index: number): string {
    return this.types[this.functionTypes[index]] ?? '?';
  }
}

function markerOf(exports: readonly ModuleExport[]): string {
  const marker = exports.find(({ name, kind }) => kind === 'function' && name.startsWith(MARKER));
  return marker === undefined ? '' : marker.name.slice(MARKER.length).replaceAll('_', '.');
}

/** Names of functions by index, from the `name` section; empty when there is none or it is broken. */
export function readFunctionNames(bytes: Uint8Array, info: ModuleInfo): Map<number, string> {
  const names = new Map<number, string>();
  const section = info.sections.find(({ id, name }) => id === SECTION.custom && name === 'name');
  if (section === undefined) return names;
  try {
    const reader = new Reader(bytes, section.start, section.end);
    while (!reader.done) {
      const kind = reader.byte();
      const size = reader.leb();
      const end = reader.at + size;
      if (kind === 1) reader.list(() => names.set(reader.leb(), reader.name()));
      reader.at = end;
    }
  } catch (error) {
    if (!(error instanceof ModuleError)) throw error;
  }
  return names;
}

const decoder = new TextDecoder();

export class Reader {
  readonly bytes: Uint8Array;
  at: number;
  readonly end: number;

  constructor(bytes: Uint8Array, start: number, end: number) {
    this.bytes = bytes;
    this.at = start;
    this.end = Math.min(end, bytes.length);
  }

  get done(): boolean {
    return this.at >= this.end;
  }

  byte(): number {
    if (this.at >= this.end) throw new ModuleError(`the module ends in the middle of something (at byte ${this.at})`);
    return this.bytes[this.at++];
  }

  u32(): number {
    return (this.byte() | (this.byte() << 8) | (this.byte() << 16) | (this.byte() << 24)) >>> 0;
  }

  /** Unsigned LEB128 of at most 64 bits, as a number. */
  leb(): number {
    let value = 0;
    let scale = 1;
    for (let i = 0; i < 10; i++) {
      const byte = this.byte();
      value += (byte & 0x7f) * scale;
      if ((byte & 0x80) === 0) return value;
      scale *= 128;
    }
    throw new ModuleError(`a number is too long (at byte ${this.at})`);
  }

  name(): string {
    const length = this.leb();
    if (this.at + length > this.end) throw new ModuleError(`a name ends beyond its section (at byte ${this.at})`);
    const text = decoder.decode(this.bytes.subarray(this.at, this.at + length));
    this.at += length;
    return text;
  }

  kind(): ExternKind {
    const kind = KINDS[this.byte()];
    if (kind === undefined) throw new ModuleError(`an import or export of unknown kind (at byte ${this.at - 1})`);
    return kind;
  }

  /** Calls `item` as often as the vector's count says; each must consume something. */
  list(item: () => void): void {
    const count = this.leb();
    if (count > this.end - this.at) throw new ModuleError(`a list of ${count} in ${this.end - this.at} bytes`);
    for (let i = 0; i < count; i++) item();
  }

  valueTypes(): string {
    let letters = '';
    this.list(() => {
      const type = this.byte();
      // A reference with a type index follows.
      if (type === 0x63 || type === 0x64) this.leb();
      letters += TYPE_LETTERS[type] ?? 'r';
    });
    return letters;
  }

  limits(): { flags: number; minimum: number; maximum: number | undefined } {
    const flags = this.leb();
    const minimum = this.leb();
    return { flags, minimum, maximum: (flags & 1) !== 0 ? this.leb() : undefined };
  }

  memory(imported: boolean): ModuleMemory {
    const { flags, minimum, maximum } = this.limits();
    return { imported, shared: (flags & 2) !== 0, is64: (flags & 4) !== 0, minimum, maximum };
  }
}
