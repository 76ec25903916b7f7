/**
 * The configuration of a host stack, as a file has it:
 *
 *     { "runtimeDir": ..., "namespaces": [{ "id", "secret", "fib" }], "segments": { "slots", "arenaPages", "highWatermark",
 *       "maxSegments" }, "spinUs": 0, "tls": { "handshakeTimeoutMs" }, "network": { "devices": [...], "routes": [...], "tcp": {...}, "pool": {...} } }
 *
 * Unknown fields are errors.
 */
import type { HostStackOptions } from '../host_stack.ts';
import { list, object, StackConfigError, text, whole } from './check.ts';
import { checkNetworkConfig } from './network_config.ts';

const check = object({
  runtimeDir: text(),
  spinUs: whole(),
  namespaces: list(object({ id: text(), secret: text(), fib: whole(0, 65_535) }, ['id'])),
  segments: object({ slots: whole(1), arenaPages: whole(1), highWatermark: whole(1, 100), maxSegments: whole(1) }),
  tls: object({ handshakeTimeoutMs: whole(1, 3_600_000) }),
  network: checkNetworkConfig,
});

/** Checks a configuration. Throws StackConfigError. */
export function checkStackConfig(value: unknown): Partial<HostStackOptions> {
  check(value, '');
  return value as Partial<HostStackOptions>;
}

/** Checks the text of a configuration file (JSON). Throws StackConfigError. */
export function readStackConfig(json: string): Partial<HostStackOptions> {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch (error) {
    throw new StackConfigError(`configuration is not JSON: ${(error as Error).message}`);
  }
  return checkStackConfig(value);
}
