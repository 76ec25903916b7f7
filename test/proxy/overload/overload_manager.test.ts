/** Overload: configuration, resource monitors, derived states, exact counting, timeouts that shrink. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { Slab } from '../../../src/core/buffer/slab.ts';
import { Store } from '../../../src/core/stats/store.ts';
import { createCgroupMemoryFactory } from '../../../src/proxy/extensions/resource_monitors/cgroup_memory/config.ts';
import { createCpuUtilizationFactory } from '../../../src/proxy/extensions/resource_monitors/cpu_utilization/config.ts';
import { RESOURCE_MONITORS } from '../../../src/proxy/extensions/resource_monitors/registry.ts';
import { parseOverloadConfig, triggerState } from '../../../src/proxy/overload/overload_config.ts';
import { OverloadManager } from '../../../src/proxy/overload/overload_manager.ts';
import { createOverloadMemory, LoadShedPoint, OverloadAction } from '../../../src/proxy/overload/overload_memory.ts';
import { OverloadState } from '../../../src/proxy/overload/overload_state.ts';
import { FakeDispatcher } from '../../support/fake_dispatcher.ts';
import { load } from '../config/helpers.ts';

const MONITORS = 'type.googleapis.com/envoy.extensions.resource_monitors.';
const injected = (filename: string) => ({
  name: 'injected',
  typed_config: { '@type': `${MONITORS}injected_resource.v3.InjectedResourceConfig`, filename },
});
const action = (name: string, trigger: object = { threshold: { value: 0.9 } }, extra: object = {}) => ({
  name: `envoy.overload_actions.${name}`,
  triggers: [{ name: 'injected', ...trigger }],
  ...extra,
});

function directory(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'sluice-overload-'));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

function protoOf(overload: object) {
  return load(JSON.stringify({ overload_manager: overload })).bootstrap.overloadManager!;
}

function managerOf(overload: object, threads = 2) {
  const proto = protoOf(overload);
  const config = parseOverloadConfig(proto)!;
  const memory = createOverloadMemory(threads);
  const scope = new Store();
  const told: string[] = [];
  const log = { info: (message: string) => void told.push(message) };
  const manager = new OverloadManager({ proto, config, memory, factories: RESOURCE_MONITORS, scope, log });
  const events: string[] = [];
  const refresh = (now = 0) =>
    manager.refresh(
      { onRefresh() {}, onChange: () => void events.push('change'), onShrinkHeap: () => void events.push('shrink') },
      now,
    );
  return { manager, config, memory, scope, told, events, refresh };
}

test('mistakes are told with their place', () => {
  const refused = (overload: object) => {
    try {
      parseOverloadConfig(protoOf({ resource_monitors: [injected('/x')], ...overload }));
    } catch (error) {
      return (error as Error).message;
    }
    return 'accepted';
  };
  assert.match(refused({ resource_monitors: [injected('/x'), injected('/y')] }), /Duplicate resource monitor injected/);
  assert.match(
    refused({ actions: [action('fly')] }),
    /actions\[0\]: overload action 'envoy.overload_actions.fly' is not supported/,
  );
  assert.match(refused({ actions: [action('shrink_heap'), action('shrink_heap')] }), /Duplicate overload action/);
  const other = { name: 'envoy.overload_actions.shrink_heap', triggers: [{ name: 'x', threshold: { value: 1 } }] };
  assert.match(
    refused({ actions: [other] }),
    /Unknown trigger resource x for overload action envoy.overload_actions.shrink_heap/,
  );
  const scaled = { scaled: { scaling_threshold: 0.5, saturation_threshold: 0.5 } };
  assert.match(refused({ actions: [action('shrink_heap', scaled)] }), /triggers\[0\].scaled: scaling_threshold must be less/);
  assert.match(refused({ actions: [action('reduce_timeouts')] }), /needs a typed_config of/);
  assert.match(
    refused({ loadshed_points: [{ ...other, name: 'envoy.load_shed_points.nowhere' }] }),
    /loadshed point .* is not supported/,
  );
  assert.equal(refused({ actions: [action('shrink_heap')] }), 'accepted');
});

test('triggers: thresholds and scales', () => {
  const at = (from: number, to: number, pressure: number) => triggerState({ resource: '', from, to }, pressure);
  assert.deepEqual([at(0.9, 0.9, 0.89), at(0.9, 0.9, 0.9), at(0.9, 0.9, 2)], [0, 1, 1]);
  assert.deepEqual([at(0.5, 1, 0.5), at(0.5, 1, 0.75), at(0.5, 1, 1)], [0, 0.5, 1]);
});

test('a file drives actions and load shed points; a bad one keeps what was', (t) => {
  const file = join(directory(t), 'pressure');
  writeFileSync(file, '0.5');
  const { refresh, memory, scope, told, events } = managerOf({
    resource_monitors: [injected(file)],
    actions: [
      action('stop_accepting_requests'),
      action('reject_incoming_connections', { scaled: { scaling_threshold: 0.5, saturation_threshold: 0.9 } }),
      action('shrink_heap'),
    ],
    loadshed_points: [
      { name: 'envoy.load_shed_points.tcp_listener_accept', triggers: [{ name: 'injected', threshold: { value: 0.6 } }] },
    ],
  });
  const gauge = (name: string) => scope.gaugeValue(`overload.${name}`);
  const write = (text: string) => {
    writeFileSync(`${file}.new`, text);
    renameSync(`${file}.new`, file);
    refresh();
  };
  refresh();
  assert.deepEqual([events.length, gauge('injected.pressure'), memory.actions[OverloadAction.StopAcceptingRequests]], [0, 50, 0]);
  write('0.7');
  assert.deepEqual(events.splice(0), ['change']);
  assert.equal(Math.round(memory.actions[OverloadAction.RejectIncomingConnections] * 100), 50);
  assert.equal(gauge('envoy.overload_actions.reject_incoming_connections.scale_percent'), 50);
  assert.equal(gauge('envoy.overload_actions.reject_incoming_connections.active'), 0);
  assert.equal(memory.points[LoadShedPoint.TcpListenerAccept], 1);
  assert.equal(gauge('envoy.load_shed_points.tcp_listener_accept.scale_percent'), 100);
  write('0.95');
  assert.deepEqual(events.splice(0), ['change', 'shrink']);
  assert.equal(gauge('envoy.overload_actions.stop_accepting_requests.active'), 1);
  assert.ok(told.includes('Overload action envoy.overload_actions.stop_accepting_requests became active'));
  for (const bad of ['', 'much', '1.5', '-1']) write(bad);
  assert.equal(scope.counterValue('overload.injected.failed_updates'), 4);
  assert.equal(told.filter((line) => line.startsWith('Failed to update')).length, 1);
  assert.equal(memory.actions[OverloadAction.StopAcceptingRequests], 1);
  refresh(9_999);
  assert.deepEqual(events.splice(0), []);
  refresh(10_000);
  assert.deepEqual(events.splice(0), ['shrink']);
  assert.equal(scope.counterValue('overload.envoy.overload_actions.shrink_heap.shrink_count'), 2);
  write('0.1');
  assert.deepEqual([memory.actions[OverloadAction.StopAcceptingRequests], memory.points[0]], [0, 0]);
  assert.deepEqual(events.splice(0), ['change']);
});

test('fixed heap: resident memory less what threads have to spare', () => {
  const { refresh, memory, scope } = managerOf({
    resource_monitors: [
      {
        name: 'heap',
        typed_config: {
          '@type': `${MONITORS}fixed_heap.v3.FixedHeapConfig`,
          max_heap_size_bytes: 10 * process.memoryUsage.rss(),
        },
      },
    ],
  });
  refresh();
  const pressure = scope.gaugeValue('overload.heap.pressure');
  assert.ok(pressure >= 8 && pressure <= 13, `${pressure}`);
  memory.spareBytes[1] = process.memoryUsage.rss() / 2;
  refresh();
  const less = scope.gaugeValue('overload.heap.pressure');
  assert.ok(less >= 3 && less <= 8, `${less}`);
});

test('memory of a control group, both versions', (t) => {
  const root = directory(t);
  const pressure = (config: Record<string, unknown>) =>
    createCgroupMemoryFactory(root).create(config, createOverloadMemory(1)).pressure();
  assert.throws(() => pressure({}), /No supported cgroup memory implementation/);
  mkdirSync(join(root, 'memory'));
  writeFileSync(join(root, 'memory/memory.usage_in_bytes'), '25\n');
  writeFileSync(join(root, 'memory/memory.limit_in_bytes'), '100\n');
  assert.equal(pressure({}), 0.25);
  writeFileSync(join(root, 'memory.current'), '30\n');
  writeFileSync(join(root, 'memory.max'), 'max\n');
  assert.equal(pressure({}), 0);
  assert.equal(pressure({ maxMemoryBytes: 60 }), 0.5);
  writeFileSync(join(root, 'memory.max'), '40\n');
  assert.equal(pressure({ maxMemoryBytes: 60 }), 0.75);
  writeFileSync(join(root, 'memory.current'), 'x');
  assert.throws(() => pressure({}), /is no number of bytes/);
});

test('processors: the part of the time that was work, smoothed', (t) => {
  const file = join(directory(t), 'stat');
  const write = (work: number, idle: number) => writeFileSync(file, `cpu  ${work} 0 0 ${idle} 5 6\ncpu0 1 2 3 4\n`);
  write(100, 100);
  const monitor = createCpuUtilizationFactory(file).create({}, createOverloadMemory(1));
  assert.equal(monitor.pressure(), 0);
  write(180, 120);
  assert.equal(monitor.pressure(), 0.8 * 0.05);
  write(180, 220);
  assert.equal(monitor.pressure(), 0.8 * 0.05 * 0.95);
  assert.throws(() => createCpuUtilizationFactory(file).create({ mode: 'CONTAINER' }, createOverloadMemory(1)), /CONTAINER/);
});

test('places for connections are exact', () => {
  const { config, memory } = managerOf({
    resource_monitors: [
      {
        name: 'envoy.resource_monitors.global_downstream_max_connections',
        typed_config: {
          '@type': `${MONITORS}downstream_connections.v3.DownstreamConnectionsConfig`,
          max_active_downstream_connections: 3,
        },
      },
    ],
  });
  const threads = [1, 2].map(() => new OverloadState(config, memory, new Store(), () => 0));
  const taken = [0, 1, 0, 1, 0].map((i) => threads[i].takeConnection());
  assert.deepEqual(taken, [true, true, true, false, false]);
  threads[1].giveConnectionBack();
  assert.deepEqual([threads[0].takeConnection(), threads[1].takeConnection()], [true, false]);
  assert.equal(memory.connections[0], 3);
});

test('chance: never at 0, always at 1, in proportion between', () => {
  let random = 0;
  const { config, memory, scope } = managerOf({
    resource_monitors: [injected('/x')],
    loadshed_points: [
      { name: 'envoy.load_shed_points.tcp_listener_accept', triggers: [{ name: 'injected', threshold: { value: 0.6 } }] },
    ],
  });
  const state = new OverloadState(config, memory, scope, () => random);
  const sheds = () => state.shouldShed(LoadShedPoint.TcpListenerAccept);
  assert.equal(sheds(), false);
  memory.points[0] = 0.5;
  assert.equal(sheds(), true);
  random = 0x8000_0000;
  assert.equal(sheds(), false);
  memory.points[0] = 1;
  random = 0xffff_ffff;
  assert.equal(sheds(), true);
  assert.equal(scope.counterValue('overload.envoy.load_shed_points.tcp_listener_accept.shed_load_count'), 2);
});

test('timeouts shrink while they run, down to their minimum, and grow again', () => {
  const { config, memory, scope } = managerOf({
    resource_monitors: [injected('/x')],
    actions: [
      action('reduce_timeouts', undefined, {
        typed_config: {
          '@type': 'type.googleapis.com/envoy.config.overload.v3.ScaleTimersOverloadActionConfig',
          timer_scale_factors: [
            { timer: 'HTTP_DOWNSTREAM_CONNECTION_IDLE', min_timeout: '2s' },
            { timer: 'HTTP_DOWNSTREAM_STREAM_IDLE', min_scale: { value: 10 } },
          ],
        },
      }),
    ],
  });
  const dispatcher = new FakeDispatcher();
  const state = new OverloadState(config, memory, scope, () => 0);
  const scale = (value: number) => {
    memory.actions[OverloadAction.ReduceTimeouts] = value;
    state.onChange();
  };
  assert.equal(
    state.createTimer('HTTP_DOWNSTREAM_CONNECTION_MAX', dispatcher, () => {}),
    null,
  );
  const fired: string[] = [];
  const idle = state.createTimer('HTTP_DOWNSTREAM_CONNECTION_IDLE', dispatcher, () => void fired.push('idle'))!;
  const stream = state.createTimer('HTTP_DOWNSTREAM_STREAM_IDLE', dispatcher, () => void fired.push('stream'))!;
  idle.set(10_000);
  stream.set(100_000);
  dispatcher.advance(4000);
  scale(0.5);
  dispatcher.advance(1999);
  assert.deepEqual(fired, []);
  dispatcher.advance(1);
  assert.deepEqual(fired, ['idle']);
  scale(1);
  dispatcher.advance(3999);
  assert.deepEqual(fired, ['idle']);
  dispatcher.advance(1);
  assert.deepEqual(fired, ['idle', 'stream']);
  idle.set(10_000);
  scale(0);
  dispatcher.advance(9999);
  assert.equal(fired.length, 2);
  idle.clear();
  dispatcher.advance(10);
  assert.equal(fired.length, 2);
});

test('a slab gives idle blocks back once, and takes them again', () => {
  const slab = new Slab(64);
  const blocks = Array.from({ length: 8 }, () => slab.allocate());
  for (const block of blocks) slab.u8[block] = 7;
  for (const block of blocks.slice(1)) slab.release(block);
  assert.equal(slab.idleBlocks, 7);
  slab.shrink();
  assert.equal(slab.idleBlocks, 0);
  assert.equal(slab.u8[blocks[0]], 7);
  assert.equal(slab.u8[blocks[3]], 0);
  const again = [slab.allocate(), slab.allocate()];
  assert.equal(slab.blocksInUse, 3);
  for (const block of again) slab.release(block);
  assert.equal(slab.idleBlocks, 2);
});
