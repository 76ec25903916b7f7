/**
 * Bootstrap configuration from a file and / or text to plain objects (Envoy: server start's InstanceUtil::loadBootstrapConfig):
 * text -> proto3 JSON -> message -> checks -> plain. All mistakes of a stage are collected and thrown together as ConfigErrors.
 */
import { readFileSync } from 'node:fs';
import { extname } from 'node:path';
import { type DescMessage, fromBinary, fromJson, type JsonObject, type Message, toBinary } from '@bufbuild/protobuf';
import { reflect } from '@bufbuild/protobuf/reflect';
import { type Api, api } from './api/registry.ts';
import { toDumpJson } from './dump.ts';
import { ConfigError } from './error.ts';
import { Diagnostics } from './errors.ts';
import { mergePositions } from './merge.ts';
import { normalize } from './normalize.ts';
import { toPlain } from './plain.ts';
import { type ConfiguredSecrets, readSecrets } from './secrets.ts';
import { type Place, type Positions, Source, whereOf } from './source.ts';
import { substituteVariables } from './substitute.ts';
import { parseText, type TextFormat } from './text.ts';
import type { Bootstrap } from './types.gen.ts';
import { validateMessage } from './validate/validate.ts';

export interface LoadOptions {
  /** `-c`: the extension decides the format (.pb binary, .yaml and .yml YAML, anything else JSON). */
  path?: string;
  /** `--config-yaml`: merged over the file. */
  yaml?: string;
  /** Replaces `${NAME}` and `${NAME:-default}` by environment variables. */
  substituteEnv?: boolean;
  env?: Record<string, string | undefined>;
  /** Valid fields that Sluice does not support become warnings and are left out. */
  allowUnsupported?: boolean;
  /** `--allow-unknown-static-fields`: unknown fields become warnings and are left out. */
  allowUnknownStaticFields?: boolean;
}

export interface LoadedBootstrap {
  bootstrap: Bootstrap;
  warnings: string[];
  /** Unknown fields that were let through (`server.static_unknown_fields`). */
  unknownFields: number;
  /** Uses of deprecated fields and enum values (`runtime.deprecated_feature_use`); each is a warning too. */
  deprecatedFeatureUses: number;
  /** The bootstrap as it was given, as proto JSON with proto field names and secrets redacted (`/config_dump`). */
  json: JsonObject;
  /** What is in the bootstrap, and in the files that it names. */
  secrets: ConfiguredSecrets;
  /** Adds file, line and column to an error whose path goes on from `base`, such as `static_resources.clusters[0]`. */
  locate(error: ConfigError, base?: string): ConfigError;
}

const BOOTSTRAP = 'envoy.config.bootstrap.v3.Bootstrap';

/** Throws ConfigErrors. */
export function loadBootstrap(options: LoadOptions): LoadedBootstrap {
  const diagnostics = new Diagnostics();
  if (options.path === undefined && options.yaml === undefined) {
    diagnostics.error('At least one of --config-path or --config-yaml or Options::configProto() should be non-empty');
    diagnostics.throwIfAny();
  }
  const definitions = api();
  const type = definitions.message(BOOTSTRAP);
  const reader = new MessageReader(definitions, type, diagnostics, options);
  const loaded = reader.read();
  diagnostics.throwIfAny();

  const place: Place = { path: '', positions: loaded.positions, at: loaded.positions?.at };
  validateMessage(definitions, loaded.message, place, diagnostics);
  const plain = toPlain(definitions, loaded.message, place, diagnostics, { allowUnsupported: options.allowUnsupported ?? false });
  diagnostics.throwIfAny();
  const bootstrap = plain as unknown as Bootstrap;
  return {
    bootstrap,
    secrets: readSecrets(bootstrap),
    warnings: diagnostics.warnings,
    unknownFields: diagnostics.unknownFields,
    deprecatedFeatureUses: diagnostics.deprecatedFeatureUses,
    json: toDumpJson(definitions, loaded.message),
    locate: (error, base = '') => locateError(error, base, place),
  };
}

/** A file with one message of this type, and where its parts stand. Throws ConfigErrors. */
export function loadMessage(typeName: string, path: string): { message: Message; place: Place } {
  const diagnostics = new Diagnostics();
  const definitions = api();
  const loaded = new MessageReader(definitions, definitions.message(typeName), diagnostics, { path }).read();
  diagnostics.throwIfAny();
  return { message: loaded.message, place: { path: '', positions: loaded.positions, at: loaded.positions?.at } };
}

/** A file with one message of this type, as plain object: what a `path_config_source` names. Throws ConfigErrors. */
export function loadFile(typeName: string, path: string): Record<string, unknown> {
  const diagnostics = new Diagnostics();
  const definitions = api();
  const loaded = new MessageReader(definitions, definitions.message(typeName), diagnostics, { path }).read();
  diagnostics.throwIfAny();
  const place: Place = { path: '', positions: loaded.positions, at: loaded.positions?.at };
  validateMessage(definitions, loaded.message, place, diagnostics);
  const plain = toPlain(definitions, loaded.message, place, diagnostics, { allowUnsupported: false });
  diagnostics.throwIfAny();
  return plain as unknown as Record<string, unknown>;
}

interface LoadedMessage {
  message: Message;
  /** Absent for what was binary. */
  positions: Positions | undefined;
}

/** Reads a message from the places that options name. */
class MessageReader {
  private readonly api: Api;
  private readonly type: DescMessage;
  private readonly diagnostics: Diagnostics;
  private readonly options: LoadOptions;

  constructor(definitions: Api, type: DescMessage, diagnostics: Diagnostics, options: LoadOptions) {
    this.api = definitions;
    this.type = type;
    this.diagnostics = diagnostics;
    this.options = options;
  }

  read(): LoadedMessage {
    const { path, yaml } = this.options;
    const base = path === undefined ? undefined : this.readFile(path);
    const over = yaml === undefined ? undefined : this.readText('--config-yaml', yaml, 'yaml');
    if (base === undefined || over === undefined) return base ?? over ?? this.nothing();
    const positions = mergePositions(
      reflect(this.type, base.message),
      reflect(this.type, over.message),
      base.positions,
      over.positions,
    );
    // Concatenated binary is proto's own definition of a merge; `merge()` of the library forgets Struct fields.
    const bytes = Buffer.concat([toBinary(this.type, base.message), toBinary(this.type, over.message)]);
    return { message: fromBinary(this.type, bytes), positions };
  }

  private readFile(path: string): LoadedMessage {
    const extension = extname(path);
    let bytes: Buffer;
    try {
      bytes = readFileSync(path);
    } catch (error) {
      this.diagnostics.error(`Invalid path: ${path} (${error instanceof Error ? error.message : String(error)})`);
      return this.nothing();
    }
    if (extension === '.pb') return this.readBinary(path, bytes);
    if (extension === '.pb_text') {
      this.diagnostics.error('text-format protobuf is not supported by Sluice: use .yaml, .json or .pb', {
        file: path,
        line: 1,
        column: 1,
      });
      return this.nothing();
    }
    const format = extension === '.yaml' || extension === '.yml' ? 'yaml' : 'json';
    return this.readText(path, bytes.toString('utf8').replace(/^\uFEFF/, ''), format);
  }

  private readBinary(path: string, bytes: Uint8Array): LoadedMessage {
    try {
      return { message: fromBinary(this.type, bytes), positions: undefined };
    } catch (error) {
      this.diagnostics.error(
        `Unable to parse file "${path}" as a binary protobuf: ${error instanceof Error ? error.message : String(error)}`,
      );
      return this.nothing();
    }
  }

  private readText(name: string, text: string, format: TextFormat): LoadedMessage {
    const before = this.diagnostics.errors.length;
    const source = this.options.substituteEnv
      ? substituteVariables(name, text, this.options.env ?? process.env, this.diagnostics)
      : new Source(name, text);
    if (this.diagnostics.errors.length > before) return this.nothing();
    const node = parseText(source, format, this.diagnostics);
    if (node === undefined) return this.nothing();
    if (node.kind === 'scalar' && node.value === null) return this.nothing();
    const options = { allowUnknownFields: this.options.allowUnknownStaticFields ?? false };
    const { json, positions } = normalize(this.api, this.type, node, this.diagnostics, options);
    if (this.diagnostics.errors.length > before) return { ...this.nothing(), positions };
    try {
      return { message: fromJson(this.type, json, { registry: this.api.registry }), positions };
    } catch (error) {
      // What normalize lets through and the parser does not: positions end at the file.
      const reason = error instanceof Error ? error.message : String(error);
      this.diagnostics.error(`Unable to parse JSON as proto: ${reason}`, source.where(0));
      return { ...this.nothing(), positions };
    }
  }

  private nothing(): LoadedMessage {
    return { message: fromBinary(this.type, new Uint8Array()), positions: undefined };
  }
}

function locateError(error: ConfigError, base: string, root: Place): ConfigError {
  if (error.file !== undefined) return error;
  const separator = base === '' || error.path === '' || error.path.startsWith('[') ? '' : '.';
  return new ConfigError(error.reason, whereOf(placeAt(root, base + separator + error.path)));
}

/** Follows a path's text into the positions, as far as they go. */
function placeAt(root: Place, path: string): Place {
  let positions = root.positions;
  let at = root.at;
  for (const [, name, index, key] of path.matchAll(/([^.[\]]+)|\[(\d+)\]|\["((?:[^"\\]|\\.)*)"\]/g)) {
    const step = name ?? (index === undefined ? (JSON.parse(`"${key}"`) as string) : Number(index));
    positions = positions?.children.get(step);
    at = positions?.at ?? at;
  }
  return { path, positions, at };
}
