/** The configuration as the server keeps it: read by a process of its own (`load_process.ts`), without the positions of its values. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { buffer } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { deserialize } from 'node:v8';
import { threadEnvironment } from '../../core/thread_environment.ts';
import { ConfigError } from '../config/error.ts';
import { ConfigErrors } from '../config/errors.ts';
import type { LoadedBootstrap, LoadOptions } from '../config/load.ts';
import type { NamedSecret } from '../network/secrets.ts';

/** The configuration as the server keeps it. */
export type LoadedConfiguration = Omit<LoadedBootstrap, 'locate'>;

/** A configuration, or a file with secrets. */
export type LoadRequest =
  | LoadOptions
  | { secretFile: string }
  | { locate: { reason: string; path: string }; options: LoadOptions };

export type LoadAnswer =
  | { loaded: LoadedConfiguration }
  | { secrets: NamedSecret[] }
  | { errors: { reason: string; path: string; file?: string; line?: number; column?: number }[] };

const PROGRAM = fileURLToPath(new URL('./load_process.ts', import.meta.url));

/** Rejects with ConfigErrors. */
export async function loadConfiguration(options: LoadOptions): Promise<LoadedConfiguration> {
  return ((await ask(options)) as { loaded: LoadedConfiguration }).loaded;
}

/** Rejects with ConfigErrors. */
export async function loadSecretFile(path: string): Promise<NamedSecret[]> {
  return ((await ask({ secretFile: path })) as { secrets: NamedSecret[] }).secrets;
}

async function ask(request: LoadRequest): Promise<Exclude<LoadAnswer, { errors: unknown }>> {
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', PROGRAM], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: threadEnvironment(),
  });
  // What is wrong with it shows in its end.
  child.stdin.on('error', () => {});
  child.stdin.end(JSON.stringify(request));
  const [bytes, [code, signal]] = await Promise.all([buffer(child.stdout), once(child, 'exit')]);
  if (code !== 0) throw new Error(`the process that reads the configuration ended with ${signal ?? code}`);
  const answer = deserialize(bytes) as LoadAnswer;
  if (!('errors' in answer)) return answer;
  throw new ConfigErrors(answer.errors.map(({ reason, ...where }) => new ConfigError(reason, where)));
}

/** With file, line and column, for which the configuration is read again: nothing is kept for errors that hardly ever come. */
export async function locate(error: unknown, options: LoadOptions): Promise<unknown> {
  if (!(error instanceof ConfigError) || error.file !== undefined || error.path === '') return error;
  try {
    await ask({ locate: { reason: error.reason, path: error.path }, options });
  } catch (located) {
    if (located instanceof ConfigErrors) return located.errors[0];
    throw located;
  }
  return error;
}
