/**
 * `envoy.access_loggers.http_grpc` and `tcp_grpc`: entries to an AccessLogService (envoy.service.accesslog.v3), a stream per logger and worker.
 *
 * Entries wait until there are `buffer_size_bytes` (16384; 0: none wait) or for `buffer_flush_interval` (1 s). While the service takes them too slowly, or
 * its stream has just failed, batches are dropped and counted in `access_logs.grpc_access_log.logs_dropped`. Left out, refused: filter state objects,
 * retry policy.
 */
import type { Timer } from '../../../../core/event/dispatcher.ts';
import type { Counter } from '../../../../core/stats/stats.ts';
import type { AccessLog, FormatterContext } from '../../../access_log/access_log.ts';
import type { AccessLogConfigFactory } from '../../../access_log/factory.ts';
import type { AccessLogFilter } from '../../../access_log/filters.ts';
import { ProtoWriter } from '../../../common/protobuf_writer.ts';
import { ConfigError } from '../../../config/error.ts';
import { type GrpcService, type GrpcServiceConfig, parseGrpcService } from '../../../grpc/grpc_service.ts';
import { GrpcStream } from '../../../grpc/grpc_stream.ts';
import { AsyncClient } from '../../../http/async_client.ts';
import type { FactoryContext, LocalInfo } from '../../../server/factory_context.ts';
import type { StreamInfo } from '../../../stream_info/stream_info.ts';
import { type CustomTagConfig, compileCustomTags } from '../../../tracing/custom_tags.ts';
import { type EntryOptions, writeHttpEntry, writeTcpEntry } from './log_entry.ts';

const METHOD = '/envoy.service.accesslog.v3.AccessLogService/StreamAccessLogs';
const HTTP_LOGS = 2;
const TCP_LOGS = 3;

interface CommonConfig {
  logName?: string;
  grpcService?: GrpcServiceConfig;
  bufferFlushInterval?: number;
  bufferSizeBytes?: number;
  customTags?: readonly CustomTagConfig[];
}

interface GrpcAccessLogConfig {
  commonConfig?: CommonConfig;
  additionalRequestHeadersToLog?: readonly string[];
  additionalResponseHeadersToLog?: readonly string[];
  additionalResponseTrailersToLog?: readonly string[];
}

export const httpGrpcAccessLogFactory: AccessLogConfigFactory = {
  typeName: 'envoy.extensions.access_loggers.grpc.v3.HttpGrpcAccessLogConfig',
  name: 'envoy.access_loggers.http_grpc',
  create: (config, filter, context) =>
    new GrpcAccessLog(config as GrpcAccessLogConfig, HTTP_LOGS, filter, context as Partial<FactoryContext>),
};

export const tcpGrpcAccessLogFactory: AccessLogConfigFactory = {
  typeName: 'envoy.extensions.access_loggers.grpc.v3.TcpGrpcAccessLogConfig',
  name: 'envoy.access_loggers.tcp_grpc',
  create: (config, filter, context) =>
    new GrpcAccessLog(config as GrpcAccessLogConfig, TCP_LOGS, filter, context as Partial<FactoryContext>),
};

class GrpcAccessLog implements AccessLog {
  private readonly kind: typeof HTTP_LOGS | typeof TCP_LOGS;
  private readonly filter: AccessLogFilter | null;
  private readonly client: AsyncClient;
  private readonly service: GrpcService;
  private readonly logName: string;
  private readonly localInfo: LocalInfo;
  private readonly options: EntryOptions;
  private readonly sizeBytes: number;
  private readonly flushIntervalMs: number;
  private readonly timer: Timer;
  private readonly written: Counter;
  private readonly dropped: Counter;
  private readonly entries = new ProtoWriter();
  private readonly message = new ProtoWriter();
  private count = 0;
  private stream: GrpcStream | null = null;

  constructor(
    config: GrpcAccessLogConfig,
    kind: typeof HTTP_LOGS | typeof TCP_LOGS,
    filter: AccessLogFilter | null,
    context: Partial<FactoryContext>,
  ) {
    const { dispatcher, clusterManager, scope, localInfo } = context;
    if (dispatcher === undefined || clusterManager === undefined || scope === undefined || localInfo === undefined)
      throw new ConfigError('gRPC access logs are not supported here');
    const common = config.commonConfig ?? {};
    this.kind = kind;
    this.filter = filter;
    this.client = AsyncClient.of(context as FactoryContext);
    this.service = parseGrpcService(common.grpcService, clusterManager, 'common_config.grpc_service');
    this.logName = common.logName ?? '';
    this.localInfo = localInfo;
    const names = (list: readonly string[] | undefined): string[] => (list ?? []).map((name) => name.toLowerCase());
    this.options = {
      requestHeaders: names(config.additionalRequestHeadersToLog),
      responseHeaders: names(config.additionalResponseHeadersToLog),
      responseTrailers: names(config.additionalResponseTrailersToLog),
      customTags: compileCustomTags(common.customTags),
    };
    this.sizeBytes = common.bufferSizeBytes ?? 16_384;
    this.flushIntervalMs = common.bufferFlushInterval ?? 1000;
    const stats = scope.scope('access_logs.grpc_access_log.');
    this.written = stats.counter('logs_written');
    this.dropped = stats.counter('logs_dropped');
    this.timer = dispatcher.createTimer(() => this.flush());
  }

  log(context: FormatterContext, info: StreamInfo): void {
    if (this.filter !== null && !this.filter.evaluate(context, info)) return;
    const at = this.entries.begin(1);
    if (this.kind === HTTP_LOGS) writeHttpEntry(this.entries, context, info, this.options);
    else writeTcpEntry(this.entries, context, info, this.options);
    this.entries.end(at);
    this.count++;
    if (this.entries.size >= this.sizeBytes) this.flush();
    else if (!this.timer.enabled) this.timer.enableTimer(this.flushIntervalMs);
  }

  private flush(): void {
    if (this.count === 0) return;
    const first = this.stream === null;
    const stream = this.stream ?? this.open();
    if (!stream.active || stream.backedUp) this.dropped.add(this.count);
    else {
      const { message } = this;
      message.clear();
      if (first) this.writeIdentifier(message);
      message.blob(this.kind, this.entries.bytes);
      this.written.add(this.count);
      stream.send(message.bytes, false);
    }
    this.entries.clear();
    this.count = 0;
  }

  /** A stream that failed is opened again with the next batch. */
  private open(): GrpcStream {
    let ended = false;
    const stream = new GrpcStream(
      this.client,
      this.service,
      METHOD,
      () => {
        ended = true;
        this.stream = null;
      },
      0,
    );
    this.stream = ended ? null : stream;
    return stream;
  }

  private writeIdentifier(out: ProtoWriter): void {
    const identifier = out.begin(1);
    const node = out.begin(1);
    out.text(1, this.localInfo.nodeId);
    out.text(2, this.localInfo.clusterName);
    out.end(node);
    out.text(2, this.logName);
    out.end(identifier);
  }
}
