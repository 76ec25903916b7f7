/** What modules keep in a stream: properties that they set, and the foreign functions that work on a stream's filter state. */
import { Status } from '../../../../wasm/abi/enums.ts';
import type { ForeignResult } from '../../../../wasm/host/environment.ts';
import { fields } from '../../../../wasm/host/grpc_service.ts';
import type { StreamInfo } from '../../../stream_info/stream_info.ts';
import { foreignFunction } from './foreign_functions.ts';
import { STATE_PREFIX } from './properties.ts';

/** Properties that a stream may have, and their sizes together. */
const MAX_PROPERTIES = 1000;
const MAX_PROPERTY_BYTES = 1 << 20;

/** Names that were declared read-only (`declare_property`); the process has few. */
const readOnly = new Set<string>();

export function writeStreamProperty(info: StreamInfo, path: string, value: Uint8Array): Status {
  const key = STATE_PREFIX + path;
  const state = (info.filterState ??= new Map<string, unknown>());
  if (readOnly.has(path) && state.has(key)) return Status.BadArgument;
  if (value.length > MAX_PROPERTY_BYTES || (state.size >= MAX_PROPERTIES && !state.has(key))) return Status.InternalFailure;
  state.set(key, value);
  return Status.Ok;
}

/** `route`: the stream can forget its route. Undefined: there is no such function. */
export function streamForeignFunction(
  name: string,
  args: Uint8Array,
  info: StreamInfo,
  route: { clearRouteCache(): void } | null,
): ForeignResult | undefined {
  switch (name) {
    case 'clear_route_cache':
      route?.clearRouteCache();
      return { status: Status.Ok };
    case 'set_envoy_filter_state': {
      const found = texts(args);
      const path = found?.get(1);
      if (path === undefined) return { status: Status.BadArgument };
      (info.filterState ??= new Map<string, unknown>()).set(path, found?.get(2) ?? '');
      return { status: Status.Ok };
    }
    case 'declare_property': {
      const declared = texts(args)?.get(1);
      if (declared === undefined) return { status: Status.BadArgument };
      if (hasTrue(args, 2) && readOnly.size < MAX_PROPERTIES) readOnly.add(declared);
      return { status: Status.Ok };
    }
    default:
      return foreignFunction(name, args);
  }
}

function texts(args: Uint8Array): Map<number, string> | null {
  const message = fields(args);
  if (message === null) return null;
  const found = new Map<number, string>();
  for (const { number, bytes } of message) if (bytes !== null) found.set(number, Buffer.from(bytes).toString('latin1'));
  return found;
}

/** A bool field that is set; a varint field in a message has no bytes here, and false is not written. */
function hasTrue(args: Uint8Array, wanted: number): boolean {
  return fields(args)?.some(({ number, bytes }) => number === wanted && bytes === null) === true;
}
