// pg against a real server (TEST_POSTGRES: host:port). Run under `sluice exec`.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import pg from 'pg';

const [host, port] = process.env.TEST_POSTGRES.split(':');
const settings = { host, port: Number(port), user: 'test', database: 'postgres' };

test('pg: queries, transactions, a pool, big values', async () => {
  const client = new pg.Client(settings);
  await client.connect();
  assert.equal(client.connection.stream._handle, null, 'not a kernel socket');
  await client.query('create table things (id serial primary key, body bytea)');
  const body = Buffer.alloc(1_000_000, 'p');
  await client.query('begin');
  await client.query('insert into things (body) values ($1)', [body]);
  await client.query('commit');
  const { rows } = await client.query('select * from things');
  assert.ok(body.equals(rows[0].body));
  await assert.rejects(client.query('select * from nothing'), /does not exist/);
  await client.end();

  const pool = new pg.Pool({ ...settings, max: 5 });
  const answers = await Promise.all(Array.from({ length: 50 }, (_, i) => pool.query('select $1::int + 1 as n', [i])));
  assert.deepEqual(
    answers.map((answer) => answer.rows[0].n),
    Array.from({ length: 50 }, (_, i) => i + 1),
  );
  await pool.end();
});
