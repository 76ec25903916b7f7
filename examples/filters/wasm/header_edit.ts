// AssemblyScript: tells the upstream who the client says it is, and takes a header of the response away.
// Build it in a project of `sluice wasm new header_edit` (as assembly/index.ts).
export * from "@solo-io/proxy-runtime/assembly/proxy";
import {
  Context, FilterHeadersStatusValues, registerRootContext, RootContext, stream_context,
} from "@solo-io/proxy-runtime/assembly";

class Root extends RootContext {
  onConfigure(size: u32): bool {
    // The SDK cannot read a configuration that is empty.
    return size == 0 ? true : super.onConfigure(size);
  }

  createContext(context_id: u32): Context {
    return new Stream(context_id, this);
  }
}

class Stream extends Context {
  constructor(context_id: u32, root: Root) {
    super(context_id, root);
  }

  onRequestHeaders(count: u32, end_of_stream: bool): FilterHeadersStatusValues {
    const headers = stream_context.headers.request;
    const agent = headers.get("user-agent");
    headers.replace("x-client", agent == "" ? "unknown" : agent);
    return FilterHeadersStatusValues.Continue;
  }

  onResponseHeaders(count: u32, end_of_stream: bool): FilterHeadersStatusValues {
    stream_context.headers.response.remove("x-powered-by");
    return FilterHeadersStatusValues.Continue;
  }
}

registerRootContext((context_id: u32) => new Root(context_id), "header_edit");
