/** Modules written as text, for tests. */
import createWabt from 'wabt';

const wabt = await createWabt();

/** The module's bytes, with its names. */
export function wat(text: string): Uint8Array {
  const module = wabt.parseWat('test.wat', text, { bulk_memory: true, sign_extension: true });
  try {
    return module.toBinary({ write_debug_names: true }).buffer.slice();
  } finally {
    module.destroy();
  }
}

/** Parts of most modules: marker, memory, a bump allocator. Data below 4096 is the module's own. */
export function prelude(version = '0_2_1'): string {
  return `
  (memory (export "memory") 2)
  (global $heap (mut i32) (i32.const 65536))
  (func (export "proxy_abi_version_${version}"))
  (func $malloc (export "malloc") (param $size i32) (result i32)
    (local $at i32)
    global.get $heap
    local.set $at
    (global.set $heap (i32.and (i32.add (i32.add (local.get $at) (local.get $size)) (i32.const 7)) (i32.const -8)))
    (if (i32.gt_u (global.get $heap) (i32.const 131072))
      (then (global.set $heap (i32.const 65536)) (local.set $at (i32.const 65536))))
    local.get $at)`;
}

/** Reads a request header, copies it into another, and adds a response header. */
export const HEADER_MODULE = `(module
  (import "env" "proxy_get_header_map_value" (func $get (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_add_header_map_value" (func $add (param i32 i32 i32 i32 i32) (result i32)))
  ${prelude()}
  (data (i32.const 16) "x-in")
  (data (i32.const 32) "x-out")
  (data (i32.const 48) "x-wasm")
  (data (i32.const 64) "yes")
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (global.set $heap (i32.const 65536))
    (if (i32.eqz (call $get (i32.const 0) (i32.const 16) (i32.const 4) (i32.const 0) (i32.const 4)))
      (then (drop (call $add (i32.const 0) (i32.const 32) (i32.const 5) (i32.load (i32.const 0)) (i32.load (i32.const 4))))))
    i32.const 0)
  (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
    (drop (call $add (i32.const 2) (i32.const 48) (i32.const 6) (i32.const 64) (i32.const 3)))
    i32.const 0))`;
