/** One version of a network filter's class with its configuration, on one worker. */
import { ClassVersion, type ExtensionClass, type ModuleSettings } from './class_version.ts';
import type { LoadedModule } from './module_loader.ts';
import { NetworkFilter, type NetworkFilterClass } from './network_filter.ts';
import type { ScriptHost } from './script_host.ts';

export interface NetworkFilterSettings extends ModuleSettings {
  readonly failOpen: boolean;
  /** How long a promise of a phase may take; 0: for ever. */
  readonly deadlineMs: number;
}

const PHASES = ['onNewConnection', 'onData', 'onWrite', 'onClose'] as const;
type Phase = (typeof PHASES)[number];

export class NetworkFilterVersion extends ClassVersion<NetworkFilterClass<unknown, unknown> & ExtensionClass> {
  readonly settings: NetworkFilterSettings;
  /** Which phases the class has of its own. */
  readonly has: Readonly<Record<Phase, boolean>>;

  /** Throws ScriptError, SchemaError. */
  constructor(scripts: ScriptHost, settings: NetworkFilterSettings, loaded: LoadedModule) {
    super(scripts, settings, loaded, NetworkFilter);
    this.settings = settings;
    const own = this.extensionClass.prototype as unknown as Record<string, unknown>;
    const base = NetworkFilter.prototype as unknown as Record<string, unknown>;
    this.has = Object.fromEntries(PHASES.map((phase) => [phase, own[phase] !== base[phase]])) as Record<Phase, boolean>;
  }
}
