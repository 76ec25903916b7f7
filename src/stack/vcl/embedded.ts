/** A stack inside the process of an application that brings its own instead of attaching to one that runs. */

import { readStackConfig } from '../config/stack_config.ts';
import { createHostStack, type EmbeddedHostStack } from '../create_host_stack.ts';

export type EmbeddedStack = Pick<EmbeddedHostStack, 'runtimeDir' | 'close'>;

/** What is wrong with a configuration (as `sluice stack -c` takes it); null: nothing. */
export function embeddedStackConfigError(text: string): string | null {
  try {
    readStackConfig(text);
    return null;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** Starts it; without `runtimeDir`, here or in its configuration, in a directory of its own. Rejects when its sockets cannot be made. */
export function startEmbeddedStack(config: string | null, runtimeDir?: string): Promise<EmbeddedStack> {
  const options = config === null ? {} : readStackConfig(config);
  return createHostStack({ ...options, ...(runtimeDir !== undefined && { runtimeDir }) });
}
