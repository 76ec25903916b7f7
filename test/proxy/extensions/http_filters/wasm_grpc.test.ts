/** gRPC call-outs of modules to a server of @grpc/grpc-js, over HTTP/2. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import {
  loadPackageDefinition,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServerUnaryCall,
  status,
} from '@grpc/grpc-js';
import { fromJSON } from '@grpc/proto-loader';
import { bootstrap, cluster, http, listener, route } from '../../../interop/support/config.ts';
import { type HttpUpstream, httpUpstream } from '../../../interop/support/upstreams.ts';
import { httpRequest, type ProxyProcess, startProxy, until } from '../../../support/proxy_process.ts';
import { buildC, needsClang } from '../../../wasm/support/c_module.ts';
import { plugin, ROUTER, text, wasmFilter } from './wasm_support.ts';

const skip = needsClang();
const ECHO = {
  nested: {
    test: {
      nested: {
        Text: { fields: { text: { type: 'string', id: 1 } } },
        Echo: {
          methods: {
            Say: { requestType: 'Text', responseType: 'Text' },
            Talk: { requestType: 'Text', requestStream: true, responseType: 'Text', responseStream: true },
          },
        },
      },
    },
  },
};

interface Text {
  text: string;
}

for (const runtime of ['envoy.wasm.runtime.v8', 'sluice.wasm.runtime.isolated']) {
  describe(`gRPC call-outs: ${runtime}`, { skip }, () => {
    let proxy: ProxyProcess;
    let upstream: HttpUpstream;
    const server = new Server();
    const heard: string[] = [];
    let refuse = false;

    before(async () => {
      upstream = await httpUpstream();
      const definition = loadPackageDefinition(fromJSON(ECHO as never)) as unknown as { test: { Echo: { service: never } } };
      server.addService(definition.test.Echo.service, {
        Say: (call: ServerUnaryCall<Text, Text>, done: (error: unknown, answer?: Text) => void) => {
          heard.push(`say ${call.request.text}`);
          if (refuse) done({ code: status.PERMISSION_DENIED, details: 'not you' });
          else done(null, { text: `${call.request.text}!` });
        },
        Talk: (call: ServerDuplexStream<Text, Text>) => {
          call.on('data', ({ text: said }: Text) => {
            heard.push(`talk ${said}`);
            call.write({ text: `${said} one` });
            call.write({ text: `${said} two` });
          });
          call.on('end', () => call.end());
        },
      } as never);
      const port = await new Promise<number>((resolve, reject) =>
        server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
          error === null ? resolve(bound) : reject(error),
        ),
      );
      const http2 = {
        typed_extension_protocol_options: {
          'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
            '@type': 'type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions',
            explicit_http_config: { http2_protocol_options: {} },
          },
        },
      };
      proxy = await startProxy({
        config: bootstrap(
          [
            listener('main', [
              http('main', [route('/', 'node')], {
                http_filters: [
                  wasmFilter(plugin(buildC('abi'), { root_id: 'r', configuration: text('conf') }, { runtime })),
                  ROUTER,
                ],
              }),
            ]),
          ],
          [cluster('node', [upstream.port]), cluster('known', [port], http2)],
        ),
      });
    });
    after(async () => {
      await proxy.stop();
      await upstream.close();
      server.forceShutdown();
    });

    const send = (what: string) => httpRequest(proxy.port('main'), '/p', { headers: { 'x-do': what } });

    test('a call: the answer resumes the request', async () => {
      assert.equal((await send('grpc_call')).status, 200);
      assert.ok(heard.includes('say msg'));
      await until(
        () => proxy.log.includes('grpc message=0:\n\u0004msg!'),
        () => proxy.log,
      );
    });

    test('a call that fails: status and message', async () => {
      refuse = true;
      assert.equal((await send('grpc_call')).status, 200);
      await until(
        () => /grpc closed=7\n.*why=0:not you/.test(proxy.log),
        () => proxy.log,
      );
    });

    test('a stream: several messages, then the end', async () => {
      assert.equal((await send('grpc_stream')).status, 200);
      assert.ok(heard.includes('talk hello'));
      await until(
        () => /grpc message=0:[\s\S]*hello one[\s\S]*grpc message=0:[\s\S]*hello two[\s\S]*grpc closed=0/.test(proxy.log),
        () => proxy.log,
      );
      assert.match(proxy.log, /initial metadata=\d/);
      assert.match(proxy.log, /trailing metadata=\d/);
    });
  });
}
