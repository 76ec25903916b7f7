/**
 * What the host gives to modules: every function of module `env` and of WASI with its signature (`i` i32, `I` i64) and, for `env`, the
 * ABI versions that specify it. All are offered to all versions: a module that imports one of another version gets what it wants.
 */

export interface HostFunctionSpec {
  readonly signature: string;
  /** '' : every version. */
  readonly versions: string;
}

const all = (signature: string): HostFunctionSpec => ({ signature, versions: '' });
const only = (versions: string, signature: string): HostFunctionSpec => ({ signature, versions });

export const ENV_FUNCTIONS = {
  proxy_log: all('iii:i'),
  proxy_get_log_level: only('0.2.1', 'i:i'),
  proxy_get_current_time_nanoseconds: all('i:i'),
  proxy_set_tick_period_milliseconds: all('i:i'),
  proxy_get_configuration: only('0.1.0', 'ii:i'),
  proxy_get_status: all('iii:i'),
  proxy_get_header_map_size: all('ii:i'),
  proxy_get_header_map_pairs: all('iii:i'),
  proxy_set_header_map_pairs: all('iii:i'),
  proxy_get_header_map_value: all('iiiii:i'),
  proxy_add_header_map_value: all('iiiii:i'),
  proxy_replace_header_map_value: all('iiiii:i'),
  proxy_remove_header_map_value: all('iii:i'),
  proxy_get_buffer_bytes: all('iiiii:i'),
  proxy_get_buffer_status: all('iii:i'),
  proxy_set_buffer_bytes: all('iiiii:i'),
  proxy_continue_stream: only('0.2.0 0.2.1', 'i:i'),
  proxy_close_stream: only('0.2.0 0.2.1', 'i:i'),
  proxy_continue_request: only('0.1.0', ':i'),
  proxy_continue_response: only('0.1.0', ':i'),
  proxy_clear_route_cache: only('0.1.0', ':i'),
  proxy_send_local_response: all('iiiiiiii:i'),
  proxy_http_call: all('iiiiiiiiii:i'),
  proxy_grpc_call: all('iiiiiiiiiiii:i'),
  proxy_grpc_stream: all('iiiiiiiii:i'),
  proxy_grpc_send: all('iiii:i'),
  proxy_grpc_cancel: all('i:i'),
  proxy_grpc_close: all('i:i'),
  proxy_get_shared_data: all('iiiii:i'),
  proxy_set_shared_data: all('iiiii:i'),
  proxy_register_shared_queue: all('iii:i'),
  proxy_resolve_shared_queue: all('iiiii:i'),
  proxy_enqueue_shared_queue: all('iii:i'),
  proxy_dequeue_shared_queue: all('iii:i'),
  proxy_define_metric: all('iiii:i'),
  proxy_increment_metric: all('iI:i'),
  proxy_record_metric: all('iI:i'),
  proxy_get_metric: all('ii:i'),
  proxy_get_property: all('iiii:i'),
  proxy_set_property: all('iiii:i'),
  proxy_set_effective_context: all('i:i'),
  proxy_done: all(':i'),
  proxy_call_foreign_function: all('iiiiii:i'),
  pthread_equal: all('ii:i'),
  emscripten_notify_memory_growth: all('i:'),
} as const satisfies Record<string, HostFunctionSpec>;
export type EnvFunctionName = keyof typeof ENV_FUNCTIONS;

export const WASI_FUNCTIONS = {
  args_get: 'ii:i',
  args_sizes_get: 'ii:i',
  environ_get: 'ii:i',
  environ_sizes_get: 'ii:i',
  clock_res_get: 'ii:i',
  clock_time_get: 'iIi:i',
  fd_advise: 'iIIi:i',
  fd_allocate: 'iII:i',
  fd_close: 'i:i',
  fd_datasync: 'i:i',
  fd_fdstat_get: 'ii:i',
  fd_fdstat_set_flags: 'ii:i',
  fd_fdstat_set_rights: 'iII:i',
  fd_filestat_get: 'ii:i',
  fd_filestat_set_size: 'iI:i',
  fd_filestat_set_times: 'iIIi:i',
  fd_pread: 'iiiIi:i',
  fd_prestat_get: 'ii:i',
  fd_prestat_dir_name: 'iii:i',
  fd_pwrite: 'iiiIi:i',
  fd_read: 'iiii:i',
  fd_readdir: 'iiiIi:i',
  fd_renumber: 'ii:i',
  fd_seek: 'iIii:i',
  fd_sync: 'i:i',
  fd_tell: 'ii:i',
  fd_write: 'iiii:i',
  path_create_directory: 'iii:i',
  path_filestat_get: 'iiiii:i',
  path_filestat_set_times: 'iiiiIIi:i',
  path_link: 'iiiiiii:i',
  path_open: 'iiiiiIIii:i',
  path_readlink: 'iiiiii:i',
  path_remove_directory: 'iii:i',
  path_rename: 'iiiiii:i',
  path_symlink: 'iiiii:i',
  path_unlink_file: 'iii:i',
  poll_oneoff: 'iiii:i',
  proc_exit: 'i:',
  proc_raise: 'i:i',
  random_get: 'ii:i',
  sched_yield: ':i',
  sock_accept: 'iii:i',
  sock_recv: 'iiiiii:i',
  sock_send: 'iiiii:i',
  sock_shutdown: 'ii:i',
} as const;
export type WasiFunctionName = keyof typeof WASI_FUNCTIONS;

export const WASI_MODULES = ['wasi_snapshot_preview1', 'wasi_unstable'] as const;
