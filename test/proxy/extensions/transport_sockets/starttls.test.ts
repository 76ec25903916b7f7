/** A filter that turns its connection into TLS in the middle of it, with node:tls as the client. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { describe, test } from 'node:test';
import { connect as tlsConnect } from 'node:tls';
import { SliceBuffer } from '../../../../src/core/buffer/slice_buffer.ts';
import { Store } from '../../../../src/core/stats/store.ts';
import { downstreamFactory } from '../../../../src/proxy/extensions/transport_sockets/starttls/config.ts';
import { ipAddress } from '../../../../src/proxy/network/address.ts';
import { type Connection, ConnectionEvent, FilterStatus } from '../../../../src/proxy/network/connection.ts';
import { createServerConnection } from '../../../../src/proxy/network/connection_impl.ts';
import { CertificateFactory } from '../../../support/certificates.ts';
import { BACKENDS, skipReason, startLoop, until } from '../../../support/dispatchers.ts';

const certificate = new CertificateFactory().make('localhost', { san: 'DNS:localhost' });
const nothing = (): void => {};

for (const backend of BACKENDS) {
  describe(`starttls on ${backend}`, { skip: skipReason(backend) }, () => {
    test('plain text, then TLS, then the end', async (t) => {
      const loop = startLoop(t, backend);
      const transportSocket = downstreamFactory.create(
        {
          '@type': downstreamFactory.typeName,
          tlsSocketConfig: {
            commonTlsContext: {
              tlsCertificates: [
                { certificateChain: { inlineString: certificate.certificate }, privateKey: { inlineString: certificate.key } },
              ],
            },
          },
        },
        {
          statsScope: new Store(),
          workerIndex: 0,
          logger: {
            trace: nothing,
            debug: nothing,
            info: nothing,
            warn: nothing,
            error: nothing,
            debugEnabled: false,
            traceEnabled: false,
          },
          onDestroy: nothing,
        },
      );
      const events: ConnectionEvent[] = [];
      const connections: Connection[] = [];
      const listener = loop.sockets.listen(
        loop.dispatcher,
        { address: ipAddress('127.0.0.1', 0), backlog: 16, reusePort: false },
        (handle) => {
          const connection = createServerConnection(loop.dispatcher, handle, {
            localAddress: listener.localAddress,
            remoteAddress: handle.remoteAddress(),
            transportSocket,
          });
          connections.push(connection);
          connection.addConnectionCallbacks({ onEvent: (event) => events.push(event) });
          connection.addReadFilter({
            initializeReadFilterCallbacks: nothing,
            onNewConnection: () => FilterStatus.Continue,
            onData: (data) => {
              const text = data.toText();
              data.clear();
              const reply = new SliceBuffer(loop.dispatcher.slab);
              if (text === 'STARTTLS\n') {
                reply.appendUtf8('OK\n');
                connection.write(reply, false);
                assert.equal(connection.startSecureTransport(), true);
                assert.equal(connection.startSecureTransport(), false);
              } else {
                reply.appendUtf8(`${connection.ssl === null ? 'plain' : 'secure'}: ${text}`);
                connection.write(reply, false);
              }
              return FilterStatus.StopIteration;
            },
          });
          connection.initializeReadFilters();
        },
      );
      listener.setAccepting(true);
      t.after(() => listener.close());
      const port = listener.localAddress.kind === 'ip' ? listener.localAddress.port : 0;

      const socket = connect(port, '127.0.0.1');
      socket.write('hello');
      assert.equal(String((await once(socket, 'data'))[0]), 'plain: hello');
      socket.write('STARTTLS\n');
      assert.equal(String((await once(socket, 'data'))[0]), 'OK\n');
      const secure = tlsConnect({ socket, rejectUnauthorized: false });
      await once(secure, 'secureConnect');
      secure.write('hello');
      assert.equal(String((await once(secure, 'data'))[0]), 'secure: hello');
      assert.equal(connections[0].ssl?.version, 'TLSv1.3');
      secure.end();
      await until(loop.dispatcher, () => events.length === 2, 'the end');
      assert.deepEqual(events, [ConnectionEvent.Connected, ConnectionEvent.RemoteClose]);
      await until(loop.dispatcher, () => loop.dispatcher.blocksHeld <= 2, 'the buffers');
      assert.deepEqual(loop.errors, []);
    });
  });
}
