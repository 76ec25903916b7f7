/**
 * Reads and checks the configuration in a process that ends: the definitions of Envoy's API and what reading leaves behind are tens of
 * megabytes that a running server has no use for, and a thread would leave most of them with the process. Options come as JSON on standard
 * input, the answer goes to standard output, serialized.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { serialize } from 'node:v8';
import { ConfigError } from '../config/error.ts';
import { ConfigErrors } from '../config/errors.ts';
import { loadBootstrap } from '../config/load.ts';
import { readSecretFile } from '../config/secrets.ts';
import type { LoadAnswer, LoadRequest } from './load_configuration.ts';

function answer(): LoadAnswer {
  try {
    const request = JSON.parse(readFileSync(0, 'utf8')) as LoadRequest;
    if ('secretFile' in request) return { secrets: readSecretFile(request.secretFile) };
    if ('locate' in request) {
      const { reason, path } = request.locate;
      throw loadBootstrap(request.options).locate(new ConfigError(reason, { path }));
    }
    const { locate: _, ...loaded } = loadBootstrap(request);
    return { loaded };
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    const errors = error instanceof ConfigErrors ? error.errors : [error];
    return { errors: errors.map(({ reason, path, file, line, column }) => ({ reason, path, file, line, column })) };
  }
}

writeFileSync(1, serialize(answer()));
