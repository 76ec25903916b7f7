/** What the flags of `sluice stack` say about the network, as configuration; checked afterwards like a file's. */
import { UsageError } from './flags.ts';

/** Keys of `--device` that are not the name of a field, or that are lists. */
const LISTS: Readonly<Record<string, string>> = { address: 'addresses', host: 'hostAddresses' };
const FAULTS: ReadonlySet<string> = new Set([
  'loss',
  'burstStart',
  'burstEnd',
  'duplicate',
  'reorder',
  'reorderUs',
  'corrupt',
  'delayUs',
  'jitterUs',
  'rateMbps',
  'queueBytes',
]);

type Fields = Record<string, unknown>;

/** `KIND:NAME,key=value,...`: `tun:slu0,address=10.1.0.2/24,host=10.1.0.1/24,loss=0.01`. Faults are for both directions. */
export function parseDeviceFlag(spec: string): Fields {
  const [head, ...pairs] = spec.split(',');
  const colon = head.indexOf(':');
  if (colon <= 0) throw new UsageError(`--device ${spec}: wanted KIND:NAME,address=IP/LENGTH,...`);
  const device: Fields & { addresses: unknown[] } = { kind: head.slice(0, colon), name: head.slice(colon + 1), addresses: [] };
  const faults: Fields = {};
  for (const pair of pairs) {
    const equals = pair.indexOf('=');
    if (equals <= 0) throw new UsageError(`--device ${spec}: '${pair}' is not key=value`);
    const key = pair.slice(0, equals);
    const value = pair.slice(equals + 1);
    if (Object.hasOwn(LISTS, key)) ((device[LISTS[key]] ??= []) as unknown[]).push(value);
    else if (key === 'capture') device['capture'] = { file: value };
    else if (FAULTS.has(key)) faults[key] = scalar(value);
    else device[key] = key === 'mac' || key === 'peer' || key === 'netns' ? value : scalar(value);
  }
  if (Object.keys(faults).length > 0) device['faults'] = { outbound: faults, inbound: faults };
  return device;
}

/** `PREFIX=GATEWAY`, with `@FIB` behind it for another table than 0. */
export function parseRouteFlag(spec: string): Fields {
  const match = /^([^=]+)=([^@]+)(?:@(\d+))?$/.exec(spec);
  if (match === null) throw new UsageError(`--route ${spec}: wanted PREFIX=GATEWAY or PREFIX=GATEWAY@FIB`);
  const [, prefix, via, fib] = match;
  return { prefix, via, ...(fib !== undefined && { fib: Number(fib) }) };
}

/** `ID`, `ID@FIB`; a secret is for the file, where the process list does not show it. */
export function parseNamespaceFlag(spec: string): Fields {
  const match = /^([^@]+)(?:@(\d+))?$/.exec(spec);
  if (match === null) throw new UsageError(`--namespace ${spec}: wanted ID or ID@FIB`);
  return { id: match[1], ...(match[2] !== undefined && { fib: Number(match[2]) }) };
}

function scalar(value: string): unknown {
  if (value === 'true' || value === 'false') return value === 'true';
  return /^-?\d+(\.\d+)?$/.test(value) ? Number(value) : value;
}
