/** What a module does to the course of a stream. All of it happens when the module has returned. */

import { Status, StreamType } from '../../abi/enums.ts';
import type { EnvFunctionName } from '../../abi/imports.ts';
import { decodePairs } from '../../abi/pairs.ts';
import type { Context } from '../context.ts';
import type { HostFunctions } from '../host_functions.ts';
import type { Wasm } from '../wasm.ts';
import { inMemory, readBytes, readLatin1 } from './memory.ts';

export function streamFunctions(wasm: Wasm): HostFunctions<EnvFunctionName> {
  const { memory } = wasm;
  return {
    proxy_continue_stream: (type: number): number => {
      wasm.checkAllowed('proxy_continue_stream');
      return type >>> 0 > StreamType.Upstream ? Status.BadArgument : (wasm.effective as Context).continueStream(type);
    },
    proxy_close_stream: (type: number): number => {
      wasm.checkAllowed('proxy_close_stream');
      return type >>> 0 > StreamType.Upstream ? Status.BadArgument : (wasm.effective as Context).closeStream(type);
    },
    proxy_continue_request: (): number => {
      wasm.checkAllowed('proxy_continue_request');
      return (wasm.effective as Context).continueStream(StreamType.HttpRequest);
    },
    proxy_continue_response: (): number => {
      wasm.checkAllowed('proxy_continue_response');
      return (wasm.effective as Context).continueStream(StreamType.HttpResponse);
    },
    proxy_clear_route_cache: (): number => {
      wasm.checkAllowed('proxy_clear_route_cache');
      (wasm.effective as Context).clearRouteCache();
      return Status.Ok;
    },

    proxy_send_local_response: (
      status: number,
      detailsPointer: number,
      detailsLength: number,
      bodyPointer: number,
      bodyLength: number,
      pairs: number,
      pairsLength: number,
      grpcStatus: number,
    ): number => {
      wasm.checkAllowed('proxy_send_local_response');
      const details = readLatin1(memory, detailsPointer, detailsLength);
      const body = readBytes(memory, bodyPointer, bodyLength);
      pairs >>>= 0;
      pairsLength >>>= 0;
      if (details === null || body === null || !inMemory(memory, pairs, pairsLength)) return Status.InvalidMemoryAccess;
      const headers = decodePairs(memory.u8, pairs, pairsLength).map(([name, value]) => [name.toLowerCase(), value] as const);
      (wasm.effective as Context).sendLocalResponse({
        status: status >>> 0,
        details: details.replace(/[ \t\f\v\n\r]/g, '_'),
        body,
        headers,
        grpcStatus,
      });
      return Status.Ok;
    },
  };
}
