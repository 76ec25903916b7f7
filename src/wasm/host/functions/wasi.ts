/**
 * The part of WASI preview 1 that Proxy-Wasm modules link against: standard output into the log, environment, clocks, random numbers;
 * no files and no sockets. Results as cpp-host gives them.
 */
import { randomFillSync } from 'node:crypto';
import { LogLevel, WasiErrno } from '../../abi/enums.ts';
import type { WasiFunctionName } from '../../abi/imports.ts';
import type { HostFunction } from '../../vm/vm.ts';
import type { Wasm } from '../wasm.ts';
import { inMemory } from './memory.ts';

const STDOUT = 1;
const STDERR = 2;
const MAX_LINE_BYTES = 64 << 10;
const MAX_RANDOM_BYTES = 65536;
/** The right to write, at offset 8 of an fdstat. */
const RIGHT_FD_WRITE = 64n;

export function wasiFunctions(wasm: Wasm): Record<WasiFunctionName, HostFunction> {
  const { memory } = wasm;
  const variables = wasm.options.environmentVariables.map(([name, value]) => Buffer.from(`${name}=${value}\0`, 'utf8'));
  const isStandard = (fd: number): boolean => fd === STDOUT || fd === STDERR;
  const onlyStandard = (fd: number): number => (isStandard(fd) ? WasiErrno.Success : WasiErrno.BadF);
  const notSupported = (): number => WasiErrno.NotSup;
  const noted = (name: string): void => wasm.environment.log(LogLevel.Debug, `wasi ${name} has no effect`);

  const u32 = (pointer: number, value: number): boolean => {
    pointer >>>= 0;
    if (!inMemory(memory, pointer, 4)) return false;
    memory.view.setUint32(pointer, value, true);
    return true;
  };
  const u64 = (pointer: number, value: bigint): boolean => {
    pointer >>>= 0;
    if (!inMemory(memory, pointer, 8)) return false;
    memory.view.setBigUint64(pointer, BigInt.asUintN(64, value), true);
    return true;
  };
  const done = (written: boolean): number => (written ? WasiErrno.Success : WasiErrno.Fault);

  return {
    args_get: () => WasiErrno.Success,
    args_sizes_get: (count: number, size: number) => done(u32(count, 0) && u32(size, 0)),
    environ_sizes_get: (count: number, size: number) =>
      done(
        u32(count, variables.length) &&
          u32(
            size,
            variables.reduce((sum, { length }) => sum + length, 0),
          ),
      ),
    environ_get: (pointers: number, buffer: number) => {
      pointers >>>= 0;
      buffer >>>= 0;
      for (const variable of variables) {
        if (!u32(pointers, buffer) || !inMemory(memory, buffer, variable.length)) return WasiErrno.Fault;
        memory.u8.set(variable, buffer);
        pointers += 4;
        buffer += variable.length;
      }
      return WasiErrno.Success;
    },

    clock_res_get: (id: number, out: number) => (id > 1 || id < 0 ? WasiErrno.NotSup : done(u64(out, 1n))),
    clock_time_get: (id: number, _precision: bigint, out: number) => {
      if (id === 0) return done(u64(out, wasm.environment.systemTimeNs()));
      return id === 1 ? done(u64(out, wasm.environment.monotonicNs())) : WasiErrno.NotSup;
    },
    random_get: (at: number, length: number) => {
      at >>>= 0;
      length >>>= 0;
      if (length > MAX_RANDOM_BYTES) return WasiErrno.Inval;
      if (!inMemory(memory, at, length)) return WasiErrno.Fault;
      if (length > 0) randomFillSync(memory.u8 as Uint8Array<ArrayBuffer>, at, length);
      return WasiErrno.Success;
    },

    fd_write: (fd: number, iovs: number, count: number, writtenOut: number) => {
      if (!isStandard(fd)) return WasiErrno.BadF;
      iovs >>>= 0;
      count >>>= 0;
      if (!inMemory(memory, iovs, count * 8)) return WasiErrno.Fault;
      let written = 0;
      let text = '';
      for (let i = 0; i < count; i++) {
        const at = memory.view.getUint32(iovs + 8 * i, true);
        const length = memory.view.getUint32(iovs + 8 * i + 4, true);
        if (!inMemory(memory, at, length)) return WasiErrno.Fault;
        written += length;
        if (text.length < MAX_LINE_BYTES)
          text += Buffer.from(memory.u8.buffer, at, Math.min(length, MAX_LINE_BYTES)).toString('utf8');
      }
      if (!u32(writtenOut, written)) return WasiErrno.Fault;
      if (written > 0) {
        const level = fd === STDOUT ? LogLevel.Info : LogLevel.Error;
        if (level >= wasm.environment.logLevel) wasm.log(level, text.endsWith('\n') ? text.slice(0, -1) : text);
      }
      return WasiErrno.Success;
    },
    fd_read: () => restrictedAtStart('fd_read', WasiErrno.NoSys),
    fd_seek: () => restrictedAtStart('fd_seek', WasiErrno.Success),
    fd_close: () => restrictedAtStart('fd_close', WasiErrno.Success),
    fd_fdstat_get: (fd: number, out: number) => {
      if (!isStandard(fd)) return WasiErrno.BadF;
      out >>>= 0;
      if (!inMemory(memory, out, 24)) return WasiErrno.Fault;
      memory.u8.fill(0, out, out + 24);
      memory.view.setBigUint64(out + 8, RIGHT_FD_WRITE, true);
      return WasiErrno.Success;
    },
    fd_fdstat_set_flags: () => WasiErrno.NoSys,
    fd_prestat_get: () => WasiErrno.BadF,
    fd_prestat_dir_name: () => WasiErrno.NoSys,
    fd_filestat_get: () => WasiErrno.BadF,
    fd_pread: () => WasiErrno.NoSys,
    fd_readdir: (_fd: number, _buffer: number, _length: number, _cookie: bigint, out: number) =>
      u32(out, 0) ? WasiErrno.NotDir : WasiErrno.Fault,
    fd_advise: onlyStandard,
    fd_allocate: onlyStandard,
    fd_datasync: onlyStandard,
    fd_sync: onlyStandard,
    fd_tell: onlyStandard,
    fd_renumber: onlyStandard,
    fd_pwrite: onlyStandard,
    fd_fdstat_set_rights: onlyStandard,
    fd_filestat_set_size: onlyStandard,
    fd_filestat_set_times: onlyStandard,

    path_open: () => restrictedAtStart('path_open', WasiErrno.NoEnt),
    path_filestat_get: notSupported,
    path_create_directory: notSupported,
    path_filestat_set_times: notSupported,
    path_link: notSupported,
    path_readlink: notSupported,
    path_remove_directory: notSupported,
    path_rename: notSupported,
    path_symlink: notSupported,
    path_unlink_file: notSupported,
    sock_accept: notSupported,
    sock_recv: notSupported,
    sock_send: notSupported,
    sock_shutdown: notSupported,

    /** The Go runtime asks; nothing is ever ready. */
    poll_oneoff: (_in: number, _out: number, _count: number, eventsOut: number) => done(u32(eventsOut, 0)),
    sched_yield: () => restrictedAtStart('sched_yield', WasiErrno.Success),
    proc_raise: notSupported,
    /** As cpp-host: noted, and the module goes on (into `unreachable` as a rule). */
    proc_exit: (code: number) => {
      wasm.checkAllowed('proc_exit');
      wasm.environment.log(LogLevel.Error, `wasi proc_exit(${code}) called by the module`);
    },
  };

  function restrictedAtStart(name: string, result: number): number {
    wasm.checkAllowed(name);
    noted(name);
    return result;
  }
}
