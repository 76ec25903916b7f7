/**
 * `envoy.extensions.vcl.v3alpha.VclSocketInterface` (Envoy: contrib/vcl): connections on the host stack. Envoy's message is empty and
 * everything else comes from VCL's side, here the environment: SLUICE_RUNTIME_DIR, VCL_APP_NAMESPACE_ID, VCL_APP_NAMESPACE_SECRET.
 * `sluice.extensions.vcl.v1.HostStackSocketInterface` says the same in the configuration (but for the secret), and can embed a stack.
 */
import { readFileSync } from 'node:fs';
import { embeddedStackConfigError } from '../../../../stack/vcl/embedded.ts';
import { ConfigError } from '../../../config/error.ts';
import type { SocketInterfaceConfig, SocketInterfaceFactory } from '../../../network/socket_interfaces.ts';
import { checkOption } from './socket_options.ts';
import { VclMain, type VclSettings } from './vcl_main.ts';
import { VclSocketInterface } from './vcl_socket_interface.ts';
import type { VclState } from './vcl_thread.ts';

interface PlainVcl {
  runtimeDir?: string;
  namespaceId?: string;
  applicationName?: string;
  rxFifoSize?: number;
  txFifoSize?: number;
  embeddedStack?: { configPath?: string };
}

const MIN_FIFO_BYTES = 4096;
const MAX_FIFO_BYTES = 2 ** 30;

export const factory: SocketInterfaceFactory = {
  name: 'envoy.extensions.vcl.vcl_socket_interface',
  typeNames: ['envoy.extensions.vcl.v3alpha.VclSocketInterface', 'sluice.extensions.vcl.v1.HostStackSocketInterface'],
  checkOption,
  createMain: (config, context) => new VclMain(settings(config), context),
  createWorker(config, context, state) {
    settings(config);
    return new VclSocketInterface(context, state as VclState | null);
  },
};

function settings(config: SocketInterfaceConfig): VclSettings {
  const plain = config as PlainVcl;
  const text = (value: string | undefined): string | undefined => (value === '' ? undefined : value);
  return {
    applicationName: text(plain.applicationName) ?? 'sluice-proxy',
    attach: {
      runtimeDir: text(plain.runtimeDir),
      namespaceId: text(plain.namespaceId),
      rxFifoSize: fifoSize(plain.rxFifoSize, 'rx_fifo_size'),
      txFifoSize: fifoSize(plain.txFifoSize, 'tx_fifo_size'),
    },
    embedded: plain.embeddedStack === undefined ? null : { config: stackConfig(text(plain.embeddedStack.configPath)) },
  };
}

function fifoSize(bytes: number | undefined, field: string): number | undefined {
  if (bytes === undefined || (bytes >= MIN_FIFO_BYTES && bytes <= MAX_FIFO_BYTES)) return bytes;
  throw new ConfigError(`a FIFO has ${MIN_FIFO_BYTES} to ${MAX_FIFO_BYTES} bytes, not ${bytes}`, {
    path: `typed_config.${field}`,
  });
}

function stackConfig(path: string | undefined): string | null {
  if (path === undefined) return null;
  const at = { path: 'typed_config.embedded_stack.config_path' };
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw new ConfigError((error as Error).message, at);
  }
  const mistake = embeddedStackConfigError(text);
  if (mistake !== null) throw new ConfigError(`${path}: ${mistake}`, at);
  return text;
}
