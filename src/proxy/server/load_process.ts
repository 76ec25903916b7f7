/**
 * Reads and checks the configuration in a process that ends: the definitions of Envoy's API and what reading leaves behind are tens of
 * megabytes that a running server has no use for, and a thread would leave most of them with the process. Options come as JSON on standard
 * input, the answer goes to standard output, serialized.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { serialize } from 'node:v8';
import { ConfigErrors } from '../config/errors.ts';
import { type LoadOptions, loadBootstrap } from '../config/load.ts';
import type { LoadAnswer } from './load_configuration.ts';

function answer(): LoadAnswer {
  try {
    const { locate: _, ...loaded } = loadBootstrap(JSON.parse(readFileSync(0, 'utf8')) as LoadOptions);
    return { loaded };
  } catch (error) {
    if (!(error instanceof ConfigErrors)) throw error;
    return { errors: error.errors.map(({ reason, path, file, line, column }) => ({ reason, path, file, line, column })) };
  }
}

writeFileSync(1, serialize(answer()));
