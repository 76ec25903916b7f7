/**
 * Messages that stand for something all workers share, such as a rate limit that they count together. The main thread gives each such
 * message memory (`addSharedState`) before it hands the configuration to the workers, and the memory goes with it: one configured thing,
 * one state, until its configuration is replaced.
 */

import { isDeepStrictEqual } from 'node:util';

/** Where the memory is in the plain object. */
const FIELD = 'sharedState';

/** Message -> how many 64-bit cells it needs. They are 0 at first. */
const CELLS: Record<string, (message: Record<string, unknown>) => number> = {
  'envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit': (message) =>
    1 + (Array.isArray(message.descriptors) ? message.descriptors.length : 0),
  'envoy.extensions.filters.network.local_ratelimit.v3.LocalRateLimit': () => 1,
};

/** For the main thread: looks for such messages in plain configuration, at any depth. Those that have memory keep it. */
export function addSharedState(plain: unknown): void {
  if (typeof plain !== 'object' || plain === null || ArrayBuffer.isView(plain) || plain instanceof SharedArrayBuffer) return;
  if (Array.isArray(plain)) {
    for (const item of plain) addSharedState(item);
    return;
  }
  const message = plain as Record<string, unknown>;
  for (const value of Object.values(message)) addSharedState(value);
  const cells = CELLS[String(message['@type'] ?? '')];
  if (cells !== undefined) message[FIELD] ??= new SharedArrayBuffer(cells(message) * 8);
}

/** A copy without such memory: equal for equal configurations. */
export function withoutSharedState<T>(plain: T): T {
  if (typeof plain !== 'object' || plain === null || ArrayBuffer.isView(plain)) return plain;
  if (Array.isArray(plain)) return plain.map(withoutSharedState) as T;
  const copy: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(plain)) if (name !== FIELD) copy[name] = withoutSharedState(value);
  return copy as T;
}

/** Whether two configurations are the same. */
export function sameConfig(a: unknown, b: unknown): boolean {
  return isDeepStrictEqual(withoutSharedState(a), withoutSharedState(b));
}

/** The cells that came with a message; of this thread alone when there are none (a message made by hand). */
export function sharedCells(message: object, cells: number): BigInt64Array {
  const state = (message as Record<string, unknown>)[FIELD];
  return new BigInt64Array(state instanceof SharedArrayBuffer ? state : new SharedArrayBuffer(cells * 8));
}
