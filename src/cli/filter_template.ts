/** What `sluice filter new` writes: a filter, its test, a configuration that runs it, and what type-checks it. */

/** Files by name. `name` is a file's name without its ending: `my_filter`. */
export function filterTemplate(name: string): Record<string, string> {
  const className = name
    .split(/[^A-Za-z0-9]+/)
    .filter((word) => word !== '')
    .map((word) => word[0].toUpperCase() + word.slice(1))
    .join('');
  return {
    [`${name}.ts`]: `/** Greets in a response header, counts requests, and refuses those that ask for it. */
import { type Headers, type Host, HttpFilter, type Infer, schema } from 'sluice/filter';

const config = schema.object({
  greeting: schema.string().default('hello'),
});
type Config = Infer<typeof config>;

export default class ${className} extends HttpFilter<Config, { requests: { inc(): void } }> {
  static readonly schema = config;

  /** Once per worker. */
  static setup(host: Host<Config>): { requests: { inc(): void } } {
    return { requests: host.counter('requests') };
  }

  override onRequestHeaders(headers: Headers): void {
    this.shared.requests.inc();
    if (headers.has('x-refuse')) this.stream.reply({ status: 403, body: 'refused\\n' });
  }

  override onResponseHeaders(headers: Headers): void {
    headers.set('x-greeting', this.config.greeting);
  }
}
`,
    [`${name}.test.ts`]: `import assert from 'node:assert/strict';
import { test } from 'node:test';
import { testFilter } from 'sluice/filter/testing';

const module = new URL('./${name}.ts', import.meta.url);

test('greets', async () => {
  const filter = await testFilter({ module, config: { greeting: 'good morning' } });
  try {
    const response = await filter.request('/');
    assert.equal(response.status, 200);
    assert.equal(response.headers['x-greeting'], 'good morning');
    assert.equal(filter.metric('requests'), 1);
  } finally {
    await filter.close();
  }
});

test('refuses without asking the upstream', async () => {
  const filter = await testFilter({ module });
  try {
    const response = await filter.request('/', { headers: { 'x-refuse': '1' } });
    assert.equal(response.status, 403);
    assert.equal(filter.received.length, 0);
  } finally {
    await filter.close();
  }
});
`,
    [`${name}.yaml`]: `# Run it: npx sluice proxy -c ${name}.yaml
# Then: curl -i http://127.0.0.1:10000/
static_resources:
  listeners:
  - name: web
    address: { socket_address: { address: 127.0.0.1, port_value: 10000 } }
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: web
          http_filters:
          - name: ${name}
            typed_config:
              "@type": type.googleapis.com/sluice.extensions.filters.http.typescript.v1.TypeScript
              module: ./${name}.ts
              config: { greeting: hello }
          - name: envoy.filters.http.router
            typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: { prefix: / }
                direct_response: { status: 200, body: { inline_string: "it works\\n" } }
`,
    'tsconfig.json': `{
  "compilerOptions": {
    "target": "es2024",
    "lib": ["es2024", "esnext.disposable"],
    "module": "nodenext",
    "types": ["node"],
    "strict": true,
    "noEmit": true,
    "noImplicitOverride": true,
    "erasableSyntaxOnly": true,
    "verbatimModuleSyntax": true,
    "allowImportingTsExtensions": true,
    "skipLibCheck": true
  }
}
`,
    'package.json': `{
  "name": "${name.replaceAll('_', '-').toLowerCase()}",
  "private": true,
  "type": "module",
  "scripts": {
    "test": "node --test",
    "typecheck": "tsc"
  }
}
`,
  };
}
