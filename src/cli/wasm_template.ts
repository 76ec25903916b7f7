/**
 * What `sluice wasm new` writes: a plugin in AssemblyScript, its test, a configuration that runs it, and how it is built. The SDK was written
 * for an older AssemblyScript: two small files bring what that one had.
 */

/** By path below `shim/`. */
export const ASSEMBLYSCRIPT_SHIMS: Readonly<Record<string, string>> = {
  'rt/index-full.ts': `// The reference counting of AssemblyScript before 0.18, on the collector of today.
export function __retain(ptr: usize): usize { return __pin(ptr); }
export function __release(ptr: usize): void { __unpin(ptr); }
`,
  'bindings/wasi_unstable.ts': `@external("wasi_unstable", "proc_exit")
export declare function proc_exit(code: u32): void;
`,
};

/** Arguments of \`asc\` in the project's directory. */
export const ASC_ARGUMENTS = ['--use', 'abort=abort_proc_exit', '--path', 'shim', '-O', '--debug'] as const;

/** Files by name. */
export function wasmTemplate(name: string): Record<string, string> {
  const shims = Object.fromEntries(Object.entries(ASSEMBLYSCRIPT_SHIMS).map(([path, text]) => [`shim/${path}`, text]));
  return {
    ...shims,
    'assembly/index.ts': `// Greets in a response header, and refuses requests that ask for it.
export * from "@solo-io/proxy-runtime/assembly/proxy";
import {
  Context, FilterHeadersStatusValues, GrpcStatusValues, registerRootContext, RootContext, send_local_response, stream_context,
} from "@solo-io/proxy-runtime/assembly";

class Root extends RootContext {
  greeting: string = "hello";

  onConfigure(size: u32): bool {
    // The SDK cannot read a configuration that is empty.
    if (size == 0) return true;
    if (!super.onConfigure(size)) return false;
    this.greeting = this.getConfiguration();
    return true;
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
    if (stream_context.headers.request.get("x-refuse") != "") {
      send_local_response(403, "refused", String.UTF8.encode("refused\\n"), [], GrpcStatusValues.PermissionDenied);
      return FilterHeadersStatusValues.StopIteration;
    }
    return FilterHeadersStatusValues.Continue;
  }

  onResponseHeaders(count: u32, end_of_stream: bool): FilterHeadersStatusValues {
    stream_context.headers.response.replace("x-greeting", this.root.greeting);
    return FilterHeadersStatusValues.Continue;
  }
}

registerRootContext((context_id: u32) => new Root(context_id), "${name}");
`,
    [`${name}.test.ts`]: `import assert from 'node:assert/strict';
import { test } from 'node:test';
import { loadPlugin } from 'sluice/wasm';

const load = (configuration?: string) => loadPlugin('build/${name}.wasm', { rootId: '${name}', configuration, logLevel: 'info' });

test('greets', () => {
  assert.equal(load().exchange().client.header('x-greeting'), 'hello');
  assert.equal(load('good morning').exchange().client.header('x-greeting'), 'good morning');
});

test('refuses without asking the upstream', () => {
  const { client, upstream } = load().exchange({ headers: [['x-refuse', '1']] });
  assert.equal(client.status, 403);
  assert.equal(upstream.headers, null);
});
`,
    [`${name}.yaml`]: `static_resources:
  listeners:
  - name: main
    address: { socket_address: { address: 127.0.0.1, port_value: 10000 } }
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: main
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: { prefix: / }
                direct_response: { status: 200, body: { inline_string: "hello\\n" } }
          http_filters:
          - name: envoy.filters.http.wasm
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm
              config:
                name: ${name}
                root_id: ${name}
                configuration: { "@type": type.googleapis.com/google.protobuf.StringValue, value: good morning }
                vm_config:
                  runtime: envoy.wasm.runtime.v8
                  code: { local: { filename: build/${name}.wasm } }
          - name: envoy.filters.http.router
            typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }
`,
    'package.json': `${JSON.stringify(
      {
        name,
        private: true,
        type: 'module',
        scripts: { build: `asc assembly/index.ts -o build/${name}.wasm ${ASC_ARGUMENTS.join(' ')}`, test: 'node --test' },
        devDependencies: { '@solo-io/proxy-runtime': '^0.1.8', assemblyscript: '^0.28.20', sluice: '*' },
      },
      null,
      2,
    )}\n`,
  };
}
