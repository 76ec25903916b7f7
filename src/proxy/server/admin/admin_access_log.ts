/** Access logs of the admin interface: `admin.access_log` and the older `access_log_path`. */
import type { IncomingMessage } from 'node:http';
import { Slab } from '../../../core/buffer/slab.ts';
import type { AccessLog } from '../../access_log/access_log.ts';
import { type AccessLogConfig, type AccessLogFactoryContext, createAccessLogs } from '../../access_log/factory.ts';
import type { Admin } from '../../config/types.gen.ts';
import { HeaderMap } from '../../http/header_map.ts';
import { ipAddress } from '../../network/address.ts';
import { StreamInfo } from '../../stream_info/stream_info.ts';

const FILE_LOG = 'envoy.extensions.access_loggers.file.v3.FileAccessLog';

export class AdminAccessLog {
  private readonly logs: readonly AccessLog[];
  private readonly slab = new Slab(16);

  /** Throws ConfigError. */
  constructor(config: Admin, context: AccessLogFactoryContext) {
    const configs = [...config.accessLog] as unknown as AccessLogConfig[];
    if (config.accessLogPath !== '')
      configs.push({ name: 'admin', typedConfig: { '@type': FILE_LOG, path: config.accessLogPath } });
    this.logs = createAccessLogs(configs, context, 'admin.access_log');
  }

  log(request: IncomingMessage, status: number, bodyBytes: number, durationMs: number): void {
    if (this.logs.length === 0) return;
    const headers = HeaderMap.of(this.slab, [
      [':method', request.method ?? ''],
      [':path', request.url ?? ''],
      [':authority', request.headers.host ?? ''],
    ]);
    for (const [name, value] of Object.entries(request.headers))
      if (name !== 'host' && value !== undefined) headers.add(name, String(value));
    const info = new StreamInfo();
    info.startTimeMs = Date.now() - durationMs;
    info.startMonotonicMs = performance.now() - durationMs;
    info.endMonotonicMs = performance.now();
    info.protocol = 'HTTP/1.1';
    info.responseCode = status;
    info.bytesSent = bodyBytes;
    const { remoteAddress, remotePort } = request.socket;
    if (remoteAddress !== undefined && remotePort !== undefined) {
      info.downstreamRemoteAddress = ipAddress(remoteAddress, remotePort);
      info.downstreamDirectRemoteAddress = info.downstreamRemoteAddress;
    }
    for (const log of this.logs) {
      log.log(
        { requestHeaders: headers, responseHeaders: null, responseTrailers: null, localReplyBody: '', accessLogType: 'NotSet' },
        info,
      );
    }
  }
}
