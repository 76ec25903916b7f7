/** The modules that are measured, as text: one reads a request header and adds another, one reads all of a response's body. */
import createWabt from 'wabt';

const COMMON = `
  (memory (export "memory") 2)
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "malloc") (param $size i32) (result i32)
    (if (result i32) (i32.gt_u (local.get $size) (i32.const 65000)) (then (i32.const 0)) (else (i32.const 65536))))`;

const HEADER = `(module
  (import "env" "proxy_get_header_map_value" (func $get (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_add_header_map_value" (func $add (param i32 i32 i32 i32 i32) (result i32)))
  ${COMMON}
  (data (i32.const 16) "user-agent")
  (data (i32.const 32) "x-client")
  (data (i32.const 64) "unknown")
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (if (call $get (i32.const 0) (i32.const 16) (i32.const 10) (i32.const 0) (i32.const 4))
      (then (i32.store (i32.const 0) (i32.const 64)) (i32.store (i32.const 4) (i32.const 7))))
    (drop (call $add (i32.const 0) (i32.const 32) (i32.const 8) (i32.load (i32.const 0)) (i32.load (i32.const 4))))
    i32.const 0))`;

const BODY = `(module
  (import "env" "proxy_get_buffer_bytes" (func $get (param i32 i32 i32 i32 i32) (result i32)))
  ${COMMON}
  (global $sum (mut i32) (i32.const 0))
  (func (export "proxy_on_response_body") (param $id i32) (param $size i32) (param $end i32) (result i32)
    (local $at i32) (local $last i32)
    (if (call $get (i32.const 1) (i32.const 0) (local.get $size) (i32.const 0) (i32.const 4)) (then (return (i32.const 0))))
    (local.set $at (i32.load (i32.const 0)))
    (local.set $last (i32.add (local.get $at) (i32.load (i32.const 4))))
    (block $done (loop $next
      (br_if $done (i32.ge_u (local.get $at) (local.get $last)))
      (global.set $sum (i32.add (global.get $sum) (i32.load8_u (local.get $at))))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br $next)))
    i32.const 0))`;

export const MODULES = { header: HEADER, body: BODY } as const;

/** Base64 of the module. */
export async function moduleBase64(name: keyof typeof MODULES): Promise<string> {
  const module = (await createWabt()).parseWat(`${name}.wat`, MODULES[name]);
  return Buffer.from(module.toBinary({}).buffer).toString('base64');
}
