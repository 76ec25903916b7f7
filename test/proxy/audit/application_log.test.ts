/** `application_log_config`: text, and JSON whose values are formats. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { DEFAULT_LOG_FORMAT, LogSink } from '../../../src/core/log/logger.ts';
import { applicationLogFormat } from '../../../src/proxy/server/application_log.ts';
import { load } from '../config/helpers.ts';

test('every line is one JSON object', (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'sluice-log-'));
  t.after(() => rmSync(directory, { recursive: true }));
  const path = join(directory, 'log');
  const yaml =
    'application_log_config: { log_format: { json_format: { text: "%j", who: { name: "%n", level: "%l" }, percent: "%%" } } }';
  const format = applicationLogFormat(load(yaml).bootstrap, DEFAULT_LOG_FORMAT);
  assert.ok(format !== undefined);
  const sink = new LogSink({ level: 'info', components: {}, format, path });
  sink.logger('main').info('a "quoted"\nline \\');
  sink.logger('main').debug('unseen');
  renameSync(path, `${path}.1`);
  sink.reopen();
  sink.logger('http').warn('second');
  const read = (file: string): unknown[] =>
    readFileSync(file, 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
  assert.deepEqual(read(`${path}.1`), [{ text: 'a "quoted"\nline \\', who: { name: 'main', level: 'info' }, percent: '%' }]);
  assert.deepEqual(read(path), [{ text: 'second', who: { name: 'http', level: 'warning' }, percent: '%' }]);
});

test('text, or nothing', () => {
  const text = load('application_log_config: { log_format: { text_format: "%_" } }').bootstrap;
  assert.equal(applicationLogFormat(text, DEFAULT_LOG_FORMAT), '%_');
  assert.equal(applicationLogFormat(load('node: {}').bootstrap, DEFAULT_LOG_FORMAT), undefined);
});
