/**
 * What a module may export: each callback with its signature, `i` for i32, before and after the colon parameters and results. A module
 * that exports one of these names with another signature is refused, as Envoy does.
 */

/** Callbacks of the ABI; all optional. `capability`: subject to `capability_restriction_config`. */
export const CALLBACKS = {
  proxy_on_context_create: 'ii:',
  proxy_on_vm_start: 'ii:i',
  proxy_validate_configuration: 'ii:i',
  proxy_on_configure: 'ii:i',
  proxy_on_tick: 'i:',
  proxy_on_queue_ready: 'ii:',
  proxy_on_foreign_function: 'iii:',
  proxy_on_new_connection: 'i:i',
  proxy_on_downstream_data: 'iii:i',
  proxy_on_upstream_data: 'iii:i',
  proxy_on_downstream_connection_close: 'ii:',
  proxy_on_upstream_connection_close: 'ii:',
  proxy_on_request_headers: 'iii:i',
  proxy_on_request_body: 'iii:i',
  proxy_on_request_trailers: 'ii:i',
  proxy_on_request_metadata: 'ii:i',
  proxy_on_response_headers: 'iii:i',
  proxy_on_response_body: 'iii:i',
  proxy_on_response_trailers: 'ii:i',
  proxy_on_response_metadata: 'ii:i',
  proxy_on_http_call_response: 'iiiii:',
  proxy_on_grpc_receive_initial_metadata: 'iii:',
  proxy_on_grpc_receive: 'iii:',
  proxy_on_grpc_receive_trailing_metadata: 'iii:',
  proxy_on_grpc_close: 'iii:',
  proxy_on_done: 'i:i',
  proxy_on_log: 'i:',
  proxy_on_delete: 'i:',
} as const;
export type CallbackName = keyof typeof CALLBACKS;

/** In 0.1.0 the two header callbacks have no `end_of_stream`. */
const OLD_HEADERS_SIGNATURE = 'ii:i';

/** What the host itself calls to start the module and to place data in it. */
export const RUNTIME_EXPORTS = {
  _initialize: ':',
  _start: ':',
  main: 'ii:i',
  __main_void: ':i',
  malloc: 'i:i',
  proxy_on_memory_allocate: 'i:i',
} as const;
export type RuntimeExportName = keyof typeof RUNTIME_EXPORTS;

export function callbackSignature(name: CallbackName, version: string): string {
  if (version === '0.1.0' && (name === 'proxy_on_request_headers' || name === 'proxy_on_response_headers'))
    return OLD_HEADERS_SIGNATURE;
  return CALLBACKS[name];
}

/** `iii:i` as Envoy writes it: `i32 i32 i32 -> i32`. */
export function signatureText(signature: string): string {
  const [params, results] = signature.split(':');
  const names = (letters: string): string => [...letters].map((letter) => LETTERS[letter] ?? letter).join(' ') || 'void';
  return `${names(params)} -> ${names(results)}`;
}

const LETTERS: Record<string, string> = { i: 'i32', I: 'i64', f: 'f32', F: 'f64', v: 'v128', r: 'ref' };
