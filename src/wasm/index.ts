/** `sluice/wasm`: run, test and look at Proxy-Wasm modules without a proxy. */
export { BufferType, DataAction, HeadersAction, LogLevel, MapType, MetricType, Status, StreamType } from './abi/enums.ts';
export { type Inspection, inspectModule } from './binary/inspect.ts';
export { ModuleError } from './binary/module_reader.ts';
export type { PropertyValue } from './host/property_value.ts';
export { WasmError } from './host/wasm.ts';
export { type ExchangeOptions, loadPlugin, type PluginOptions, type ResponseOptions, TestPlugin } from './testing/module_test.ts';
export { TestEnvironment, type TestGrpcStream, type TestHttpCall } from './testing/test_environment.ts';
export type { Received, TestStream } from './testing/test_stream.ts';
export { NullHost, type NullPluginFactory, NullRoot, NullStream } from './vm/null/null_plugin.ts';
export { NullVm } from './vm/null/null_vm.ts';
