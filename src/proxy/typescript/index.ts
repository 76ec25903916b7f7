/** `sluice/filter`: what extensions written in TypeScript are made of. The guide is docs/filters.md. */
export { AccessLogger, type AccessLoggerClass, type AccessLoggerInit, type LogEntry } from './access_logger.ts';
export type { Body } from './body_view.ts';
export type { Headers } from './headers_view.ts';
export {
  CallError,
  type CallHeaders,
  type CallRequest,
  type CallResponse,
  type Counter,
  type Gauge,
  type Histogram,
  type Host,
  type Log,
  type LogFile,
  type SharedData,
} from './host_api.ts';
export {
  Action,
  HttpFilter,
  type HttpFilterClass,
  type HttpFilterInit,
  type HttpStream,
  type LocalReply,
  type PhaseResult,
  type StreamProperties,
} from './http_filter.ts';
export {
  NetworkAction,
  type NetworkConnection,
  NetworkFilter,
  type NetworkFilterClass,
  type NetworkFilterInit,
  type NetworkResult,
} from './network_filter.ts';
export { type ConfigSchema, type Infer, Schema, SchemaError, schema } from './schema.ts';
export { Service, type ServiceClass, type ServiceInit } from './service.ts';
export { SharedDataFull } from './shared_data.ts';
