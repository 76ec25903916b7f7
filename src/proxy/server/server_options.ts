/** What the command line says to a server. */
import type { IoBackend } from '../../core/event/create_dispatcher.ts';
import type { LogSettings } from '../../core/log/logger.ts';
import type { LoadOptions } from '../config/load.ts';

export interface ServerOptions {
  configPath?: string;
  configYaml?: string;
  mode: 'serve' | 'validate' | 'init_only';
  /** Workers, at least 1. */
  concurrency: number;
  log: LogSettings;
  adminAddressPath?: string;
  baseId: number;
  drainTimeMs: number;
  drainStrategy: 'gradual' | 'immediate';
  parentShutdownTimeS: number;
  serviceCluster?: string;
  serviceNode?: string;
  serviceZone?: string;
  fileFlushIntervalMs: number;
  allowUnknownStaticFields: boolean;
  allowUnsupported: boolean;
  substituteEnv: boolean;
  ioBackend?: IoBackend;
  /** Called when the server is LIVE. */
  onReady?: () => void;
}

/** How the configuration is to be read. */
export function loadOptions(options: ServerOptions): LoadOptions {
  return {
    path: options.configPath,
    yaml: options.configYaml,
    substituteEnv: options.substituteEnv,
    allowUnsupported: options.allowUnsupported,
    allowUnknownStaticFields: options.allowUnknownStaticFields,
  };
}
