/**
 * Session rules: mask, match, action. A rule matches protocol, local and remote prefix and ports (0: any); the most specific one wins:
 * longer remote prefix, then longer local prefix, then remote port, then local port.
 *
 * Rules with the same mask share a hash table, so a lookup costs one probe per distinct mask however many rules there are. Local rules
 * of a namespace are consulted on its connects (with an unspecified local side), global rules on arrivals from a network too.
 */
import { type Endpoint, formatPrefix, type Prefix, prefixMask } from './endpoint.ts';
import { TupleTable } from './tuple_table.ts';

export interface SessionRule {
  proto: number;
  local: Prefix;
  localPort: number;
  remote: Prefix;
  remotePort: number;
  action: RuleAction;
  tag: string;
}

/** `redirect` gives the connection to the application with that index, whatever it listens to. */
export type RuleAction = { kind: 'allow' } | { kind: 'deny' } | { kind: 'redirect'; appIndex: number };

const KEY_WORDS = 10;

interface MaskGroup {
  isV4: boolean;
  localLength: number;
  remoteLength: number;
  localPort: boolean;
  remotePort: boolean;
  table: TupleTable;
}

export class RulesTable {
  private readonly rules = new Map<number, SessionRule>();
  private groups: MaskGroup[] = [];
  private nextId = 0;
  private readonly key = new Int32Array(KEY_WORDS);

  /** Adds a rule or replaces the one with the same match. */
  add(rule: SessionRule): void {
    const group = this.groupOf(rule, true)!;
    const key = this.keyOfRule(rule);
    const old = group.table.get(key);
    if (old >= 0) this.rules.delete(old);
    const id = this.nextId++;
    group.table.set(key, id);
    this.rules.set(id, rule);
  }

  /** Removes the rule with this match; false when there is none. */
  delete(rule: SessionRule): boolean {
    const group = this.groupOf(rule, false);
    if (group === null) return false;
    const key = this.keyOfRule(rule);
    const id = group.table.get(key);
    if (id < 0) return false;
    group.table.delete(key);
    this.rules.delete(id);
    if (group.table.size === 0) this.groups = this.groups.filter((other) => other !== group);
    return true;
  }

  /** The action of the most specific rule that matches, or null. */
  lookup(proto: number, local: Endpoint, remote: Endpoint): RuleAction | null {
    if (this.groups.length === 0) return null;
    const key = this.key;
    for (const group of this.groups) {
      if (group.isV4 !== remote.isV4) continue;
      for (let i = 0; i < 4; i++) {
        key[i] = local.words[i] & prefixMask(group.localLength, i);
        key[4 + i] = remote.words[i] & prefixMask(group.remoteLength, i);
      }
      key[8] = ((group.localPort ? local.port : 0) << 16) | (group.remotePort ? remote.port : 0);
      key[9] = proto;
      const id = group.table.get(key);
      if (id >= 0) return this.rules.get(id)!.action;
    }
    return null;
  }

  get list(): SessionRule[] {
    return [...this.rules.values()];
  }

  private keyOfRule(rule: SessionRule): Int32Array {
    this.key.set(rule.local.words, 0);
    this.key.set(rule.remote.words, 4);
    this.key[8] = (rule.localPort << 16) | rule.remotePort;
    this.key[9] = rule.proto;
    return this.key;
  }

  private groupOf(rule: SessionRule, create: boolean): MaskGroup | null {
    const found = this.groups.find(
      (group) =>
        group.isV4 === rule.remote.isV4 &&
        group.localLength === rule.local.length &&
        group.remoteLength === rule.remote.length &&
        group.localPort === rule.localPort > 0 &&
        group.remotePort === rule.remotePort > 0,
    );
    if (found !== undefined || !create) return found ?? null;
    const group: MaskGroup = {
      isV4: rule.remote.isV4,
      localLength: rule.local.length,
      remoteLength: rule.remote.length,
      localPort: rule.localPort > 0,
      remotePort: rule.remotePort > 0,
      table: new TupleTable(KEY_WORDS),
    };
    this.groups.push(group);
    this.groups.sort(
      (a, b) =>
        b.remoteLength - a.remoteLength ||
        b.localLength - a.localLength ||
        Number(b.remotePort) - Number(a.remotePort) ||
        Number(b.localPort) - Number(a.localPort),
    );
    return group;
  }
}

export function formatRule(rule: SessionRule, protoName: string): string {
  const action = rule.action.kind === 'redirect' ? `redirect ${rule.action.appIndex}` : rule.action.kind;
  const tag = rule.tag === '' ? '' : ` tag ${rule.tag}`;
  return `${protoName} ${formatPrefix(rule.local)} ${rule.localPort} ${formatPrefix(rule.remote)} ${rule.remotePort} action ${action}${tag}`;
}
