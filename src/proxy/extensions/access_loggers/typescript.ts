/**
 * `sluice.access_loggers.typescript`: a logger that is a class in a TypeScript (or JavaScript) file beside the configuration. Sluice's own,
 * not Envoy's; the guide is docs/filters.md.
 */
import type { AccessLog, FormatterContext } from '../../access_log/access_log.ts';
import type { AccessLogConfigFactory } from '../../access_log/factory.ts';
import type { AccessLogFilter } from '../../access_log/filters.ts';
import type { HeaderMap } from '../../http/header_map.ts';
import type { StreamInfo } from '../../stream_info/stream_info.ts';
import { AccessLogger, type AccessLoggerClass, type LogEntry } from '../../typescript/access_logger.ts';
import { ClassVersion, type ExtensionClass, type ModuleSettings } from '../../typescript/class_version.ts';
import { type ModuleMessage, moduleSettings, scriptsOf, useModule } from '../../typescript/configured.ts';
import { type Headers, HeadersView } from '../../typescript/headers_view.ts';
import type { LoadedModule } from '../../typescript/module_loader.ts';
import { toScriptError } from '../../typescript/script_error.ts';
import type { ScriptHost } from '../../typescript/script_host.ts';
import type { ScriptUse } from '../../typescript/script_modules.ts';
import { PropertiesView } from '../../typescript/stream_properties.ts';

export const typescriptAccessLogFactory: AccessLogConfigFactory = {
  typeName: 'sluice.extensions.access_loggers.typescript.v1.TypeScriptAccessLog',
  name: 'sluice.access_loggers.typescript',
  create(config, filter, context) {
    const message = config as ModuleMessage;
    const scripts = scriptsOf(context);
    const module = scripts.module(message.module);
    const settings = moduleSettings(message, module.path);
    const use = useModule(module, (loaded) => new LoggerVersion(scripts, settings, loaded));
    return new TypeScriptAccessLog(use, filter, scripts);
  },
};

class LoggerVersion extends ClassVersion<AccessLoggerClass & ExtensionClass> {
  /** Null where configuration is only checked. */
  readonly logger: AccessLogger | null;

  constructor(scripts: ScriptHost, settings: ModuleSettings, loaded: LoadedModule) {
    super(scripts, settings, loaded, AccessLogger);
    const { config, host } = this;
    try {
      this.logger = scripts.validateOnly ? null : new this.extensionClass({ config, host });
    } catch (error) {
      host.dispose();
      throw toScriptError(error, settings.path);
    }
  }
}

/** One entry object for all streams: it is valid during `log` only. */
class TypeScriptAccessLog implements AccessLog, LogEntry {
  type = '';
  readonly info: PropertiesView;
  private readonly use: ScriptUse<LoggerVersion>;
  private readonly filter: AccessLogFilter | null;
  private readonly request = new HeadersView('request headers');
  private readonly response = new HeadersView('response headers');
  private readonly trailers = new HeadersView('response trailers');

  constructor(use: ScriptUse<LoggerVersion>, filter: AccessLogFilter | null, scripts: ScriptHost) {
    this.use = use;
    this.filter = filter;
    this.info = new PropertiesView(scripts);
  }

  get requestHeaders(): Headers | null {
    return this.request.map === null ? null : this.request;
  }

  get responseHeaders(): Headers | null {
    return this.response.map === null ? null : this.response;
  }

  get responseTrailers(): Headers | null {
    return this.trailers.map === null ? null : this.trailers;
  }

  log(context: FormatterContext, info: StreamInfo): void {
    if (this.filter !== null && !this.filter.evaluate(context, info)) return;
    const version = this.use.current;
    this.show(context.requestHeaders, context.responseHeaders, context.responseTrailers, info);
    this.type = context.accessLogType;
    try {
      version.logger?.log(this);
    } catch (error) {
      version.host.reportError(error, 'log');
    }
    this.show(null, null, null, null);
  }

  private show(request: HeaderMap | null, response: HeaderMap | null, trailers: HeaderMap | null, info: StreamInfo | null): void {
    this.request.map = request;
    this.response.map = response;
    this.trailers.map = trailers;
    this.info.info = info;
  }
}
