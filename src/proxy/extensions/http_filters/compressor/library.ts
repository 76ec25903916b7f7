/**
 * Compressor libraries: `envoy.compression.gzip.compressor`, `envoy.compression.brotli.compressor` and
 * `envoy.compression.zstd.compressor` (without dictionaries, which are refused), on node:zlib. A piece of a body is compressed on Node's threads, up to its last byte; `end` finishes the stream.
 */
import { constants, createBrotliCompress, createGzip, createZstdCompress } from 'node:zlib';
import { ConfigError } from '../../../config/error.ts';

/** One configured library. */
export interface CompressorLibrary {
  /** As `content-encoding` and `accept-encoding` say it. */
  readonly encoding: 'gzip' | 'br' | 'zstd';
  /** In the names of statistics. */
  readonly statPrefix: string;
  create(): Compression;
}

/** One body. */
export interface Compression {
  /** One call at a time. `done` is called from Node's loop. */
  push(bytes: Uint8Array, end: boolean, done: (error: Error | null, output: Uint8Array) => void): void;
  destroy(): void;
}

interface GzipConfig {
  memoryLevel?: number;
  compressionLevel?: string;
  compressionStrategy?: string;
  windowBits?: number;
  chunkSize?: number;
}

interface BrotliConfig {
  quality?: number;
  encoderMode?: string;
  windowBits?: number;
  inputBlockBits?: number;
  chunkSize?: number;
  disableLiteralContextModeling?: boolean;
}

interface ZstdConfig {
  compressionLevel?: number;
  enableChecksum?: boolean;
  strategy?: string;
  chunkSize?: number;
}

const DEFAULT_CHUNK = 4096;

const STRATEGIES: Readonly<Record<string, number>> = {
  DEFAULT_STRATEGY: constants.Z_DEFAULT_STRATEGY,
  FILTERED: constants.Z_FILTERED,
  HUFFMAN_ONLY: constants.Z_HUFFMAN_ONLY,
  RLE: constants.Z_RLE,
  FIXED: constants.Z_FIXED,
};

const MODES: Readonly<Record<string, number>> = {
  DEFAULT: constants.BROTLI_DEFAULT_MODE,
  GENERIC: constants.BROTLI_MODE_GENERIC,
  TEXT: constants.BROTLI_MODE_TEXT,
  FONT: constants.BROTLI_MODE_FONT,
};

/** Throws ConfigError. */
export function compressorLibrary(config: { '@type': string } & Record<string, unknown>): CompressorLibrary {
  const factory = LIBRARIES[config['@type']];
  if (factory === undefined) {
    throw new ConfigError(`Didn't find a registered implementation for type: '${config['@type']}'`, { path: 'typed_config' });
  }
  return factory(config);
}

const LIBRARIES: Readonly<Record<string, (config: object) => CompressorLibrary>> = {
  'envoy.extensions.compression.gzip.compressor.v3.Gzip': gzip,
  'envoy.extensions.compression.brotli.compressor.v3.Brotli': brotli,
  'envoy.extensions.compression.zstd.compressor.v3.Zstd': zstd,
};

function gzip(given: object): CompressorLibrary {
  const config = given as GzipConfig;
  const options = {
    memLevel: config.memoryLevel ?? 5,
    level: levelOf(config.compressionLevel ?? 'DEFAULT_COMPRESSION'),
    strategy: STRATEGIES[config.compressionStrategy ?? 'DEFAULT_STRATEGY'],
    windowBits: config.windowBits ?? 12,
    chunkSize: config.chunkSize ?? DEFAULT_CHUNK,
  };
  return { encoding: 'gzip', statPrefix: 'gzip.', create: () => new ZlibCompression(createGzip(options)) };
}

/** `BEST_SPEED`, `COMPRESSION_LEVEL_5` ... */
function levelOf(name: string): number {
  if (name === 'BEST_SPEED') return 1;
  if (name === 'BEST_COMPRESSION') return 9;
  const digit = /_(\d)$/.exec(name);
  return digit === null ? constants.Z_DEFAULT_COMPRESSION : Number(digit[1]);
}

function brotli(given: object): CompressorLibrary {
  const config = given as BrotliConfig;
  const options = {
    chunkSize: config.chunkSize ?? DEFAULT_CHUNK,
    params: {
      [constants.BROTLI_PARAM_QUALITY]: config.quality ?? 3,
      [constants.BROTLI_PARAM_MODE]: MODES[config.encoderMode ?? 'DEFAULT'],
      [constants.BROTLI_PARAM_LGWIN]: config.windowBits ?? 18,
      [constants.BROTLI_PARAM_LGBLOCK]: config.inputBlockBits ?? 24,
      [constants.BROTLI_PARAM_DISABLE_LITERAL_CONTEXT_MODELING]: config.disableLiteralContextModeling === true ? 1 : 0,
    },
  };
  return { encoding: 'br', statPrefix: 'brotli.', create: () => new ZlibCompression(createBrotliCompress(options)) };
}

/** 0: what the level says. */
const ZSTD_STRATEGIES: Readonly<Record<string, number>> = {
  DEFAULT: 0,
  FAST: constants.ZSTD_fast,
  DFAST: constants.ZSTD_dfast,
  GREEDY: constants.ZSTD_greedy,
  LAZY: constants.ZSTD_lazy,
  LAZY2: constants.ZSTD_lazy2,
  BTLAZY2: constants.ZSTD_btlazy2,
  BTOPT: constants.ZSTD_btopt,
  BTULTRA: constants.ZSTD_btultra,
  BTULTRA2: constants.ZSTD_btultra2,
};

function zstd(given: object): CompressorLibrary {
  const config = given as ZstdConfig;
  const strategy = ZSTD_STRATEGIES[config.strategy ?? 'DEFAULT'];
  const options = {
    chunkSize: config.chunkSize ?? DEFAULT_CHUNK,
    params: {
      [constants.ZSTD_c_compressionLevel]: config.compressionLevel ?? 3,
      [constants.ZSTD_c_checksumFlag]: config.enableChecksum === true ? 1 : 0,
      ...(strategy === 0 ? {} : { [constants.ZSTD_c_strategy]: strategy }),
    },
  };
  return { encoding: 'zstd', statPrefix: 'zstd.', create: () => new ZlibCompression(createZstdCompress(options)) };
}

type ZlibStream = ReturnType<typeof createGzip> | ReturnType<typeof createBrotliCompress> | ReturnType<typeof createZstdCompress>;

class ZlibCompression implements Compression {
  private readonly stream: ZlibStream;
  private output: Buffer[] = [];
  private done: ((error: Error | null, output: Uint8Array) => void) | null = null;

  constructor(stream: ZlibStream) {
    this.stream = stream;
    stream.on('data', (chunk: Buffer) => this.output.push(chunk));
    stream.on('end', () => this.finish(null));
    stream.on('error', (error) => this.finish(error));
  }

  push(bytes: Uint8Array, end: boolean, done: (error: Error | null, output: Uint8Array) => void): void {
    this.done = done;
    if (bytes.length > 0) this.stream.write(bytes);
    if (end) this.stream.end();
    else this.stream.flush(() => this.finish(null));
  }

  private finish(error: Error | null): void {
    const { done } = this;
    if (done === null) return;
    this.done = null;
    const output = Buffer.concat(this.output);
    this.output = [];
    done(error, output);
  }

  destroy(): void {
    this.done = null;
    this.stream.destroy();
  }
}
