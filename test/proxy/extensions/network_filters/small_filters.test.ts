import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { factory as connectionLimit } from '../../../../src/proxy/extensions/network_filters/connection_limit/config.ts';
import { factory as directResponse } from '../../../../src/proxy/extensions/network_filters/direct_response/config.ts';
import { factory as echo } from '../../../../src/proxy/extensions/network_filters/echo/config.ts';
import { factory as sniCluster } from '../../../../src/proxy/extensions/network_filters/sni_cluster/config.ts';
import { ConnectionCloseType, ConnectionEvent, FilterStatus } from '../../../../src/proxy/network/connection.ts';
import type { NetworkFilterConfigFactory } from '../../../../src/proxy/server/factory_context.ts';
import { FakeDispatcher, type TestContext, testContext } from '../support.ts';
import { FakeConnection } from './support.ts';

class Rig {
  readonly dispatcher = new FakeDispatcher();
  readonly context: TestContext = testContext(this.dispatcher);
  private readonly create;

  constructor(factory: NetworkFilterConfigFactory, config: Record<string, unknown> = {}) {
    this.create = factory.create({ '@type': factory.typeName, ...config }, this.context);
  }

  connect(prepare: (connection: FakeConnection) => void = () => {}): FakeConnection {
    const connection = new FakeConnection(this.dispatcher);
    prepare(connection);
    this.create(connection);
    connection.initializeReadFilters();
    return connection;
  }
}

test('echo: sends back what it gets, and the end', () => {
  const connection = new Rig(echo).connect();
  assert.equal(connection.halfClose, true);
  connection.feed('one');
  assert.equal(connection.takeWritten(), 'one');
  connection.feed('two', true);
  assert.equal(connection.takeWritten(), 'two');
  assert.equal(connection.ended, true);
});

test('direct_response: writes, then closes after the flush', () => {
  const connection = new Rig(directResponse, { response: { inlineString: 'grüezi' } }).connect();
  assert.equal(connection.written.toText('utf8'), 'grüezi');
  assert.equal(connection.closedWith?.type, ConnectionCloseType.FlushWrite);
  assert.equal(connection.streamInfo.responseCodeDetails, 'direct_response');
});

test('direct_response: all kinds of data source', () => {
  const file = join(tmpdir(), `listeners-direct-response-${process.pid}`);
  writeFileSync(file, 'from a file');
  process.env.SLUICE_TEST_DIRECT_RESPONSE = 'from the environment';
  const sources: [Record<string, unknown>, string][] = [
    [{ filename: file }, 'from a file'],
    [{ inlineBytes: Buffer.from('bytes') }, 'bytes'],
    [{ environmentVariable: 'SLUICE_TEST_DIRECT_RESPONSE' }, 'from the environment'],
  ];
  for (const [response, expected] of sources)
    assert.equal(new Rig(directResponse, { response }).connect().takeWritten(), expected);
  const silent = new Rig(directResponse).connect();
  assert.equal(silent.takeWritten(), '');
  assert.equal(silent.state, 'closed');
  assert.throws(
    () => new Rig(directResponse, { response: { filename: '/does/not/exist' } }),
    /unable to read file: \/does\/not\/exist/,
  );
  assert.throws(
    () => new Rig(directResponse, { response: { environmentVariable: 'SLUICE_NOT_SET' } }),
    /Environment variable doesn't exist/,
  );
});

test('connection_limit: closes above the limit and counts down again', () => {
  const rig = new Rig(connectionLimit, { statPrefix: 'x', maxConnections: 2 });
  const limited = () => rig.context.scope.counter('connection_limit.x.limited_connections').value;
  const active = () => rig.context.scope.gauge('connection_limit.x.active_connections').value;
  const [first, second] = [rig.connect(), rig.connect()];
  assert.deepEqual([first.state, second.state, active(), limited()], ['open', 'open', 2, 0]);
  const third = rig.connect();
  assert.deepEqual(third.closedWith, { type: ConnectionCloseType.NoFlush, details: 'over_connection_limit' });
  assert.deepEqual([active(), limited()], [2, 1]);
  first.raise(ConnectionEvent.RemoteClose);
  assert.equal(active(), 1);
  assert.equal(rig.connect().state, 'open');
});

test('connection_limit: a delayed rejection reads nothing meanwhile', () => {
  const rig = new Rig(connectionLimit, { statPrefix: 'x', maxConnections: 1, delay: 500 });
  rig.connect();
  const late = rig.connect();
  assert.equal(late.state, 'open');
  assert.equal(late.readFilters[0].onData(rig.dispatcher.buffer('x'), false), FilterStatus.StopIteration);
  rig.dispatcher.advance(499);
  assert.equal(late.state, 'open');
  rig.dispatcher.advance(1);
  assert.equal(late.state, 'closed');
  // One that leaves before its time takes its timer along.
  const leaving = rig.connect();
  leaving.raise(ConnectionEvent.RemoteClose);
  assert.equal(rig.dispatcher.armedTimers, 0);
  assert.equal(rig.context.scope.gauge('connection_limit.x.active_connections').value, 1);
});

test('connection_limit: runtime turns it off, without losing count', () => {
  const rig = new Rig(connectionLimit, {
    statPrefix: 'x',
    maxConnections: 1,
    runtimeEnabled: { runtimeKey: 'on', defaultValue: true },
  });
  rig.connect();
  assert.equal(rig.connect().state, 'closed');
  rig.context.runtimeValues.set('on', 'false');
  const free = rig.connect();
  assert.equal(free.state, 'open');
  free.raise(ConnectionEvent.RemoteClose);
  assert.equal(rig.context.scope.gauge('connection_limit.x.active_connections').value, 1);
});

test('sni_cluster: the server name becomes the cluster', () => {
  const rig = new Rig(sniCluster);
  const named = rig.connect((connection) => {
    connection.requestedServerName = 'a.example.com';
  });
  assert.equal(named.streamInfo.filterState?.get('envoy.tcp_proxy.cluster'), 'a.example.com');
  assert.equal(rig.connect().streamInfo.filterState, null);
});

test('terminal filters', () => {
  const config = { '@type': '' };
  assert.deepEqual(
    [echo, directResponse, connectionLimit, sniCluster].map((factory) => factory.isTerminal(config)),
    [true, true, false, false],
  );
});
