// AssemblyScript: asks another service about each request (cluster "authz") and lets it pass when that answers 200.
// Build it in a project of `sluice wasm new authorize` (as assembly/index.ts). Its configuration is the path to ask for.
// The SDK's own httpCall does not compile with the AssemblyScript of today: the host function is called directly.
export * from "@solo-io/proxy-runtime/assembly/proxy";
import {
  Context, continue_request, FilterHeadersStatusValues, GrpcStatusValues, proxy_set_effective_context, registerRootContext, RootContext,
  send_local_response, stream_context,
} from "@solo-io/proxy-runtime/assembly";
import { proxy_http_call } from "@solo-io/proxy-runtime/assembly/imports";

const TIMEOUT_MS: u32 = 1000;

/** Names and values by turns, as the ABI wants maps. */
function serialize(texts: string[]): ArrayBuffer {
  const bytes = texts.map<ArrayBuffer>((text: string) => String.UTF8.encode(text));
  let size = 4;
  for (let i = 0; i < bytes.length; i++) size += 4 + bytes[i].byteLength + 1;
  const result = new ArrayBuffer(size);
  const start = changetype<usize>(result);
  store<u32>(start, bytes.length / 2);
  let at = start + 4 + 4 * bytes.length;
  for (let i = 0; i < bytes.length; i++) {
    store<u32>(start + 4 + 4 * i, bytes[i].byteLength);
    memory.copy(at, changetype<usize>(bytes[i]), bytes[i].byteLength);
    at += bytes[i].byteLength + 1;
  }
  return result;
}

function deny(why: string): void {
  send_local_response(403, why, String.UTF8.encode("forbidden\n"), [], GrpcStatusValues.PermissionDenied);
}

class Root extends RootContext {
  path: string = "/check";
  /** Streams that wait, by the token of their call. */
  waiting: Map<u32, u32> = new Map<u32, u32>();

  onConfigure(size: u32): bool {
    // The SDK cannot read a configuration that is empty.
    if (size == 0) return true;
    if (!super.onConfigure(size)) return false;
    this.path = this.getConfiguration();
    return true;
  }

  /** False: the call could not be made. */
  ask(user: string, stream: u32): bool {
    const cluster = String.UTF8.encode("authz");
    const headers = serialize([":method", "GET", ":path", this.path, ":authority", "authz", "x-user", user]);
    const token = new Uint32Array(1);
    const result = proxy_http_call(
      changetype<usize>(cluster), cluster.byteLength, changetype<usize>(headers), headers.byteLength, 0, 0, 0, 0, TIMEOUT_MS, token.dataStart,
    );
    if (result == 0) this.waiting.set(token[0], stream);
    return result == 0;
  }

  onHttpCallResponse(token: u32, headers: u32, body_size: u32, trailers: u32): void {
    if (!this.waiting.has(token)) return;
    const stream = this.waiting.get(token);
    this.waiting.delete(token);
    // No headers: the call failed.
    const allowed = headers != 0 && stream_context.headers.http_callback.get(":status") == "200";
    proxy_set_effective_context(stream);
    if (allowed) continue_request();
    else deny("not_authorized");
  }

  createContext(context_id: u32): Context {
    return new Stream(context_id, this);
  }
}

class Stream extends Context {
  root: Root;

  constructor(context_id: u32, root: Root) {
    super(context_id, root);
    this.root = root;
  }

  onRequestHeaders(count: u32, end_of_stream: bool): FilterHeadersStatusValues {
    const user = stream_context.headers.request.get("x-user");
    if (!this.root.ask(user, this.context_id)) deny("no_authorization_service");
    return FilterHeadersStatusValues.StopIteration;
  }
}

registerRootContext((context_id: u32) => new Root(context_id), "authorize");
