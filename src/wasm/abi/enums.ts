/** The numbers of the Proxy-Wasm ABI (proxy-wasm/spec 0.1.0 to 0.2.1, and what Envoy's host really uses). */

export const ABI_VERSIONS = ['0.1.0', '0.2.0', '0.2.1'] as const;
export type AbiVersion = (typeof ABI_VERSIONS)[number];

/** Status of a host function. */
export const Status = {
  Ok: 0,
  NotFound: 1,
  BadArgument: 2,
  SerializationFailure: 3,
  ParseFailure: 4,
  BadExpression: 5,
  InvalidMemoryAccess: 6,
  Empty: 7,
  CasMismatch: 8,
  ResultMismatch: 9,
  InternalFailure: 10,
  BrokenConnection: 11,
  Unimplemented: 12,
} as const;
export type Status = (typeof Status)[keyof typeof Status];

export const WASM_LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'critical'] as const;
export const LogLevel = { Trace: 0, Debug: 1, Info: 2, Warn: 3, Error: 4, Critical: 5, Off: 6 } as const;

export const MapType = {
  HttpRequestHeaders: 0,
  HttpRequestTrailers: 1,
  HttpResponseHeaders: 2,
  HttpResponseTrailers: 3,
  GrpcReceiveInitialMetadata: 4,
  GrpcReceiveTrailingMetadata: 5,
  HttpCallResponseHeaders: 6,
  HttpCallResponseTrailers: 7,
} as const;
export const LAST_MAP_TYPE = 7;

export const BufferType = {
  HttpRequestBody: 0,
  HttpResponseBody: 1,
  NetworkDownstreamData: 2,
  NetworkUpstreamData: 3,
  HttpCallResponseBody: 4,
  GrpcReceiveBuffer: 5,
  VmConfiguration: 6,
  PluginConfiguration: 7,
  CallData: 8,
} as const;
export const LAST_BUFFER_TYPE = 8;

export const StreamType = { HttpRequest: 0, HttpResponse: 1, Downstream: 2, Upstream: 3 } as const;
export const MetricType = { Counter: 0, Gauge: 1, Histogram: 2 } as const;
export const PeerType = { Unknown: 0, Local: 1, Remote: 2 } as const;

/** What a headers callback asks for, as Envoy's host reads it: 1 pauses everything unless `allowOnHeadersStopIteration`. */
export const HeadersAction = {
  Continue: 0,
  StopIteration: 1,
  ContinueAndEndStream: 2,
  StopAllBuffer: 3,
  StopAllWatermark: 4,
} as const;
export const DataAction = { Continue: 0, StopAndBuffer: 1, StopAndWatermark: 2, StopNoBuffer: 3 } as const;
export const TrailersAction = { Continue: 0, Stop: 1 } as const;

export const WasiErrno = {
  Success: 0,
  BadF: 8,
  NotDir: 20,
  Fault: 21,
  Inval: 28,
  NoEnt: 44,
  NoSys: 52,
  NotSup: 58,
  NotCapable: 76,
} as const;

/** Why a VM cannot be used (cpp-host: FailState). */
export const FAIL_STATES = [
  'Ok',
  'UnableToCreateVm',
  'UnableToCloneVm',
  'MissingFunction',
  'UnableToInitializeCode',
  'StartFailed',
  'ConfigureFailed',
  'RuntimeError',
] as const;
export type FailState = (typeof FAIL_STATES)[number];
