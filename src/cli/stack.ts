/** `sluice stack` and `sluice ctl`: the host stack as a process, and its command line. */
import { readFileSync } from 'node:fs';
import { parse } from 'yaml';
import { checkStackConfig } from '../stack/config/stack_config.ts';
import type { HostStackOptions } from '../stack/host_stack.ts';
import { runControl, runStack } from '../stack/main.ts';
import { defaultRuntimeDir } from '../stack/vcl/attach.ts';
import { type FlagTable, type FlagValues, formatFlags, parseFlags, UsageError } from './flags.ts';
import { parseDeviceFlag, parseNamespaceFlag, parseRouteFlag } from './stack_flags.ts';

const RUNTIME_DIR = { type: 'string', value: 'dir', help: 'Where the application sockets are' } as const;

export const STACK_FLAGS: FlagTable = {
  config: { short: 'c', type: 'string', value: 'file', help: 'Configuration (YAML or JSON); the other flags add to it' },
  'runtime-dir': RUNTIME_DIR,
  device: {
    type: 'string',
    value: 'kind:name,...',
    multiple: true,
    help: 'tun:slu0,address=10.1.0.2/24,host=10.1.0.1/24, or tap, packet, xdp, pipe; more keys: mtu, offload, fib, netns, mac, capture, loss, delayUs ...',
  },
  route: {
    type: 'string',
    value: 'prefix=gateway',
    multiple: true,
    help: '0.0.0.0/0=10.1.0.1, with @FIB for another table than 0',
  },
  namespace: {
    type: 'string',
    value: 'id',
    multiple: true,
    help: 'Namespace of applications, with @FIB for its forwarding table',
  },
  'congestion-control': { type: 'string', value: 'name', help: 'cubic, newreno or bbr' },
  help: { short: 'h', type: 'boolean', help: 'Print this and end' },
};

export const CTL_FLAGS: FlagTable = {
  json: { type: 'boolean', help: 'Answer as JSON' },
  'runtime-dir': RUNTIME_DIR,
  help: { short: 'h', type: 'boolean', help: 'Print this and end' },
};

/** Runs until SIGINT or SIGTERM; the exit status. */
export async function stackCommand(args: readonly string[]): Promise<number> {
  const { values } = parseFlags(args, STACK_FLAGS);
  if (values.help) {
    process.stdout.write(`sluice stack: run a host stack that applications attach to\n\n${formatFlags(STACK_FLAGS)}\n`);
    return 0;
  }
  try {
    const stack = runStack(stackConfig(values));
    const devices = stack.network?.stack.interfaces.map(({ device, addresses }) => {
      const list = addresses.map(({ address, length }) => `${address}/${length}`);
      return `${device.name} ${list.join(' ')}\n`;
    });
    process.stdout.write(`stack at ${stack.runtimeDir}; sluice ctl show app tells who is attached\n${devices?.join('') ?? ''}`);
    return 0;
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
}

/** The file and what the flags add to it. Throws an Error whose message is for the user. */
export function stackConfig(values: FlagValues): Partial<HostStackOptions> {
  const file = values.config as string | undefined;
  const config = file === undefined ? {} : (parse(readFileSync(file, 'utf8')) as Record<string, unknown> | null);
  const checked = checkStackConfig(config ?? {}) as Record<string, unknown>;
  const list = (name: string): string[] => (values[name] as unknown as string[] | undefined) ?? [];
  const network = (checked['network'] ?? {}) as Record<string, unknown>;
  const devices = [...((network['devices'] ?? []) as unknown[]), ...list('device').map(parseDeviceFlag)];
  const routes = [...((network['routes'] ?? []) as unknown[]), ...list('route').map(parseRouteFlag)];
  const namespaces = [...((checked['namespaces'] ?? []) as unknown[]), ...list('namespace').map(parseNamespaceFlag)];
  const cc = values['congestion-control'];
  if (devices.length === 0 && (routes.length > 0 || cc !== undefined))
    throw new UsageError('--route and --congestion-control need a --device, or a device in the configuration');
  const tcp = { ...((network['tcp'] ?? {}) as object), ...(cc !== undefined && { congestionControl: cc }) };
  return checkStackConfig({
    ...checked,
    ...(namespaces.length > 0 && { namespaces }),
    ...(values['runtime-dir'] !== undefined && { runtimeDir: values['runtime-dir'] }),
    ...(devices.length > 0 && { network: { ...network, devices, routes, tcp } }),
  });
}

/** `sluice ctl COMMAND...`: the words after the flags are the command. */
export async function ctlCommand(args: readonly string[]): Promise<number> {
  const { values, positionals } = parseFlags(args, CTL_FLAGS, true);
  if (values.help || positionals.length === 0) {
    process.stdout.write(
      `sluice ctl [flags] COMMAND: ask a running stack (help lists the commands: show session, show runtime, trace add, tcp probe ...)\n\n${formatFlags(CTL_FLAGS)}\n`,
    );
    return values.help ? 0 : 1;
  }
  return runControl(
    (values['runtime-dir'] as string | undefined) ?? defaultRuntimeDir(),
    positionals.join(' '),
    values.json === true,
  );
}
