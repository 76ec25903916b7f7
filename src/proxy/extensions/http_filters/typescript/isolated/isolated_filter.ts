/** A stream through a TypeScript filter that runs in a thread of its own: as a module there does, with what is TypeScript's own. */
import { Status } from '../../../../../wasm/abi/enums.ts';
import type { ForeignResult } from '../../../../../wasm/host/environment.ts';
import type { IsolatedInstance } from '../../../../../wasm/isolated/isolated_instance.ts';
import type { PluginHandle } from '../../../../../wasm/plugin/plugin_handle.ts';
import type { FactoryContext } from '../../../../server/factory_context.ts';
import { mergeParts, type RoutePart } from '../../../../typescript/http_filter_version.ts';
import { PropertiesView } from '../../../../typescript/stream_properties.ts';
import { IsolatedFilter } from '../../wasm/isolated_filter.ts';
import { decodeJson, encodeJson, ScriptQuestion } from './script_init.ts';

/** What may be asked of a stream: the names of StreamProperties. */
const NAMES: ReadonlySet<string> = new Set(
  Object.getOwnPropertyNames(PropertiesView.prototype).filter((name) => name !== 'constructor' && name !== 'live'),
);

export class IsolatedScriptFilter extends IsolatedFilter {
  private readonly view: PropertiesView;

  constructor(handle: PluginHandle<IsolatedInstance>, context: FactoryContext) {
    const details = `typescript_filter_failed{${handle.settings.name}}`;
    super(handle, context, { status: 500, failed: details, lengthMismatch: details });
    this.view = new PropertiesView(context.dispatcher);
  }

  protected override handleOfRoute(): undefined {
    return undefined;
  }

  protected override configOfRoute(): Readonly<Record<string, unknown>> | undefined {
    const parts = this.decoder.perFilterConfigs<RoutePart>();
    return parts.length === 0 ? undefined : mergeParts({}, parts);
  }

  override foreignFunction(name: string, args: Uint8Array): ForeignResult | undefined {
    if (name !== ScriptQuestion.Info) return undefined;
    const [wanted, ...rest] = decodeJson(args) as [string, ...never[]];
    this.view.info = this.info;
    if (!NAMES.has(wanted)) return { status: Status.NotFound };
    const found = (this.view as unknown as Record<string, unknown>)[wanted];
    const value = typeof found === 'function' ? (found as (...given: never[]) => unknown).apply(this.view, rest) : found;
    return { status: Status.Ok, result: encodeJson(value) };
  }
}
