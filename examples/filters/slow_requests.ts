/** An access logger: a line of JSON for each request that failed or took long, and a histogram of all. */
import {
  AccessLogger,
  type AccessLoggerInit,
  type Histogram,
  type Infer,
  type LogEntry,
  type LogFile,
  schema,
} from 'sluice/filter';

const config = schema.object({
  path: schema.string(),
  slower_than: schema.duration().default(1000),
});
type Config = Infer<typeof config>;

export default class SlowRequests extends AccessLogger<Config> {
  static readonly schema = config;
  private readonly file: LogFile;
  private readonly duration: Histogram;

  constructor(init: AccessLoggerInit<Config>) {
    super(init);
    this.file = this.host.logFile(this.config.path);
    this.duration = this.host.histogram('duration', 'milliseconds');
  }

  log({ info, requestHeaders }: LogEntry): void {
    this.duration.recordValue(info.durationMs);
    if (info.durationMs < this.config.slower_than && info.responseCode < 500) return;
    const line = {
      time: new Date(info.startTimeMs).toISOString(),
      method: requestHeaders?.get(':method'),
      path: requestHeaders?.get(':path'),
      client: info.remoteIp,
      status: info.responseCode,
      details: info.responseCodeDetails,
      flags: info.responseFlags,
      upstream: info.upstreamAddress,
      ms: Math.round(info.durationMs),
    };
    this.file.write(`${JSON.stringify(line)}\n`);
  }
}
