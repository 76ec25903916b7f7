import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Member, MemberList } from '../../../src/proxy/network/member_list.ts';

class Thing implements Member {
  memberIndex = -1;
}

test('members come and go in any order', () => {
  const list = new MemberList<Thing>();
  const things = Array.from({ length: 100 }, () => new Thing());
  for (const thing of things) list.add(thing);
  assert.equal(list.size, 100);
  assert.throws(() => list.add(things[3]), /already a member/);
  for (let i = 0; i < 100; i += 3) list.delete(things[i]);
  const left = new Set(things.filter((_, i) => i % 3 !== 0));
  assert.deepEqual(new Set(list), left);
  for (const thing of list.toArray()) list.delete(thing);
  assert.equal(list.size, 0);
  assert.ok(things.every((thing) => thing.memberIndex === -1));
});

test('what is no member, or one of another list, is not taken out', () => {
  const [a, b] = [new MemberList<Thing>(), new MemberList<Thing>()];
  const [inA, inB] = [new Thing(), new Thing()];
  a.add(inA);
  b.add(inB);
  a.delete(inB);
  a.delete(new Thing());
  assert.deepEqual([a.size, b.size], [1, 1]);
});
