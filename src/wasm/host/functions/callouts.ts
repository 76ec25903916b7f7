/** `proxy_http_call` and `proxy_grpc_*`: checks of their arguments; the calls themselves are kept by the root context. */

import { Status } from '../../abi/enums.ts';
import type { EnvFunctionName } from '../../abi/imports.ts';
import { decodePairs } from '../../abi/pairs.ts';
import { grpcTarget } from '../grpc_service.ts';
import type { HostFunctions } from '../host_functions.ts';
import type { RootContext } from '../root_context.ts';
import type { Wasm } from '../wasm.ts';
import { inMemory, readBytes, readLatin1, returnBytes, writeU32 } from './memory.ts';

const lowerCased = (pairs: [string, string][]): [string, string][] => pairs.map(([name, value]) => [name.toLowerCase(), value]);

export function calloutFunctions(wasm: Wasm): HostFunctions<EnvFunctionName> {
  const { memory } = wasm;
  const rootOf = (): RootContext | null => wasm.effective?.root ?? null;

  /** Null: not memory. */
  function readPairs(pointer: number, length: number): [string, string][] | null {
    pointer >>>= 0;
    length >>>= 0;
    return inMemory(memory, pointer, length) ? lowerCased(decodePairs(memory.u8, pointer, length)) : null;
  }

  /** Starts a gRPC call (`message`) or stream (null); writes the token. */
  function startGrpc(
    upstreamAt: number,
    upstreamLength: number,
    serviceAt: number,
    serviceLength: number,
    methodAt: number,
    methodLength: number,
    metadataAt: number,
    metadataLength: number,
    message: Uint8Array | null,
    timeoutMs: number,
    tokenOut: number,
  ): Status {
    const upstream = readBytes(memory, upstreamAt, upstreamLength);
    const service = readLatin1(memory, serviceAt, serviceLength);
    const method = readLatin1(memory, methodAt, methodLength);
    const initialMetadata = readPairs(metadataAt, metadataLength);
    if (upstream === null || service === null || method === null || initialMetadata === null) return Status.InvalidMemoryAccess;
    if (!inMemory(memory, tokenOut >>> 0, 4)) return Status.InvalidMemoryAccess;
    const root = rootOf();
    const target = grpcTarget(upstream, (name) => wasm.environment.callouts?.hasCluster(name) === true);
    if (typeof target === 'number') return target;
    if (root === null) return Status.InternalFailure;
    const metadata = [...target.initialMetadata, ...initialMetadata];
    const token = root.callouts.grpcStart(
      { cluster: target.cluster, service, method, initialMetadata: metadata, timeoutMs },
      message,
    );
    return token === 0 ? Status.InternalFailure : writeU32(memory, tokenOut, token);
  }

  return {
    proxy_http_call: (
      upstreamAt: number,
      upstreamLength: number,
      headersAt: number,
      headersLength: number,
      bodyAt: number,
      bodyLength: number,
      trailersAt: number,
      trailersLength: number,
      timeoutMs: number,
      tokenOut: number,
    ): number => {
      wasm.checkAllowed('proxy_http_call');
      const cluster = readLatin1(memory, upstreamAt, upstreamLength);
      const headers = readPairs(headersAt, headersLength);
      const body = readBytes(memory, bodyAt, bodyLength);
      const trailers = readPairs(trailersAt, trailersLength);
      if (cluster === null || headers === null || body === null || trailers === null) return Status.InvalidMemoryAccess;
      const tested = writeU32(memory, tokenOut, 0);
      if (tested !== Status.Ok) return tested;
      const root = rootOf();
      const { callouts } = wasm.environment;
      if (root === null || timeoutMs < 0 || callouts === null || !callouts.hasCluster(cluster)) return Status.BadArgument;
      const has = (name: string): boolean => headers.some((pair) => pair[0] === name);
      if (!has(':path') || !has(':method') || !has(':authority')) return Status.BadArgument;
      const plain = headers.filter(([name]) => name !== 'content-length');
      if (body.length > 0) plain.push(['content-length', String(body.length)]);
      const token = root.callouts.httpCall({ cluster, headers: plain, body, trailers, timeoutMs });
      return token === 0 ? Status.InternalFailure : writeU32(memory, tokenOut, token);
    },

    proxy_grpc_call: (
      upstreamAt: number,
      upstreamLength: number,
      serviceAt: number,
      serviceLength: number,
      methodAt: number,
      methodLength: number,
      metadataAt: number,
      metadataLength: number,
      messageAt: number,
      messageLength: number,
      timeoutMs: number,
      tokenOut: number,
    ): number => {
      wasm.checkAllowed('proxy_grpc_call');
      const message = readBytes(memory, messageAt, messageLength);
      if (message === null) return Status.InvalidMemoryAccess;
      return startGrpc(
        upstreamAt,
        upstreamLength,
        serviceAt,
        serviceLength,
        methodAt,
        methodLength,
        metadataAt,
        metadataLength,
        message,
        timeoutMs >>> 0,
        tokenOut,
      );
    },

    proxy_grpc_stream: (
      upstreamAt: number,
      upstreamLength: number,
      serviceAt: number,
      serviceLength: number,
      methodAt: number,
      methodLength: number,
      metadataAt: number,
      metadataLength: number,
      tokenOut: number,
    ): number => {
      wasm.checkAllowed('proxy_grpc_stream');
      return startGrpc(
        upstreamAt,
        upstreamLength,
        serviceAt,
        serviceLength,
        methodAt,
        methodLength,
        metadataAt,
        metadataLength,
        null,
        0,
        tokenOut,
      );
    },

    proxy_grpc_send: (token: number, messageAt: number, messageLength: number, endStream: number): number => {
      wasm.checkAllowed('proxy_grpc_send');
      const message = readBytes(memory, messageAt, messageLength);
      if (message === null) return Status.InvalidMemoryAccess;
      return rootOf()?.callouts.grpcSend(token >>> 0, message, endStream !== 0) ?? Status.NotFound;
    },
    proxy_grpc_cancel: (token: number): number => {
      wasm.checkAllowed('proxy_grpc_cancel');
      return rootOf()?.callouts.grpcCancel(token >>> 0) ?? Status.NotFound;
    },
    proxy_grpc_close: (token: number): number => {
      wasm.checkAllowed('proxy_grpc_close');
      return rootOf()?.callouts.grpcClose(token >>> 0) ?? Status.NotFound;
    },

    proxy_get_status: (codeOut: number, pointerOut: number, sizeOut: number): number => {
      wasm.checkAllowed('proxy_get_status');
      const root = rootOf();
      const written = writeU32(memory, codeOut, root === null ? 0 : root.statusCode >>> 0);
      if (written !== Status.Ok) return written;
      return returnBytes(wasm, Buffer.from(root?.statusMessage ?? '', 'utf8'), pointerOut, sizeOut);
    },
  };
}
