/**
 * The stack's command line, as vppctl's: `show ...`, `clear ...`, `session rule ...`, `app ns ...`. Every command gives a plain value,
 * which is JSON for programs, and knows how to say it to people.
 */
import type { HostStack } from '../host_stack.ts';
import { parsePrefix } from '../session/endpoint.ts';
import { formatRule, type RuleAction, type RulesTable, type SessionRule } from '../session/rules_table.ts';
import { protoByName, protoName } from '../session/transport.ts';
import { type Command, CommandError, parseWords, TextValue, type Value } from './command.ts';
import { GRAPH_COMMANDS } from './graph_commands.ts';
import { NETWORK_COMMANDS } from './network_commands.ts';
import { PROBE_COMMANDS } from './probe_commands.ts';
import { SDL_COMMANDS } from './sdl_commands.ts';
import { SESSION_COMMANDS } from './session_commands.ts';
import { formatTable } from './table.ts';

export interface CommandResult {
  ok: boolean;
  text: string;
}

const COMMANDS: readonly Command[] = [
  { words: 'help', usage: 'help', run: () => COMMANDS.map((command) => ({ command: command.usage })) },
  { words: 'show version', usage: 'show version', run: showVersion },
  ...SDL_COMMANDS,
  { words: 'show session rules', usage: 'show session rules [appns ID]', run: showRules },
  ...SESSION_COMMANDS,
  { words: 'show tls stats', usage: 'show tls stats', run: (stack) => ({ ...stack.tls?.stats }) },
  { words: 'show app ns', usage: 'show app ns', run: showNamespaces },
  { words: 'show app', usage: 'show app [NAME|INDEX]', run: showApps },
  { words: 'show segment-manager', usage: 'show segment-manager [index N]', run: showSegments },
  { words: 'session rule', usage: ruleUsage(), run: sessionRule },
  { words: 'app ns add', usage: 'app ns add id ID [secret S] [fib N]', run: addNamespace },
  ...GRAPH_COMMANDS,
  ...NETWORK_COMMANDS,
  ...PROBE_COMMANDS,
];

function ruleUsage(): string {
  return 'session rule add|del [appns ID] proto P LCL/PLEN PORT RMT/PLEN PORT action allow|deny|APP [tag T] [scope local|global|all]';
}

/** Runs one command line. */
export function runCommand(stack: HostStack, line: string, json: boolean): CommandResult {
  const words = line.trim().split(/\s+/);
  const command = COMMANDS.find(({ words: wanted }) => wanted.split(' ').every((word, i) => words[i] === word));
  if (command === undefined) return failed(`unknown command '${line.trim()}', try 'help'`, json);
  stack.settle();
  const value = command.run(stack, words.slice(command.words.split(' ').length));
  if (value instanceof CommandError) return failed(value.text, json);
  if (value instanceof TextValue) return { ok: true, text: json ? JSON.stringify(value.value) : value.text };
  return { ok: true, text: json ? JSON.stringify(value) : formatTable(value) };
}

function failed(text: string, json: boolean): CommandResult {
  return { ok: false, text: json ? JSON.stringify({ error: text }) : text };
}

function showVersion(stack: HostStack): Value {
  return { generation: stack.generation, pid: process.pid, uptimeSeconds: Math.floor((Date.now() - stack.startedAtMs) / 1000) };
}

function showNamespaces(stack: HostStack): Value {
  return [...stack.namespaces.values()].map((namespace) => ({
    id: namespace.id,
    secret: namespace.hasSecret ? 'yes' : 'no',
    fib: namespace.fib,
    applications: namespace.applications,
    socket: stack.socketPath(namespace.id),
  }));
}

function showApps(stack: HostStack, args: string[]): Value | CommandError {
  if (args.length > 1) return new CommandError('usage: show app [NAME|INDEX]');
  if (args.length === 1) return showWorkers(stack, args[0]);
  return [...stack.applications.values()].map((application) => ({
    index: application.index,
    name: application.name,
    namespace: application.namespace.id,
    scope: [application.options.scopeLocal && 'local', application.options.scopeGlobal && 'global'].filter(Boolean).join(','),
    workers: application.workers.length,
    pids: application.workers.map((worker) => worker.pid).join(','),
    sessions: application.workers.reduce((sum, worker) => sum + worker.sessions, 0),
    rxFifo: application.options.rxFifoSize,
    txFifo: application.options.txFifoSize,
  }));
}

/** One application: its workers. */
function showWorkers(stack: HostStack, name: string): Value | CommandError {
  const own = [...stack.applications.values()].filter((app) => app.name === name || String(app.index) === name);
  if (own.length === 0) return new CommandError(`no application '${name}'`);
  const listeners = [...stack.layer.pool.all()].filter((session) => session.accept !== null);
  return own.flatMap((application) =>
    application.workers.map((worker) => ({
      app: application.name,
      worker: worker.index,
      pid: worker.pid,
      sessions: worker.sessions,
      listeners: listeners.filter(({ accept }) => accept!.workers.some((entry) => entry.worker === worker)).length,
      connecting: worker.connecting.size,
      unreadMessages: worker.toApp.control.unread,
      responsive: worker.unresponsive ? 'no' : 'yes',
    })),
  );
}

function showSegments(stack: HostStack, args: string[]): Value | CommandError {
  const words = parseWords(args, ['index']);
  if (words === null) return new CommandError('usage: show segment-manager [index N]');
  const wanted = words.get('index');
  const chosen = [...stack.segments.all()].filter(({ id }) => wanted === undefined || String(id) === wanted);
  if (wanted !== undefined && chosen.length === 0) return new CommandError(`no segment ${wanted}`);
  return chosen.map((shared) => ({
    segment: shared.id,
    client: `${shared.pair.client.app.name}/${shared.pair.client.index}`,
    server: shared.pair.server === null ? 'stack' : `${shared.pair.server.app.name}/${shared.pair.server.index}`,
    sessions: `${shared.inUse}/${shared.segment.layout.slots}`,
    sizeKb: shared.segment.bytes / 1024,
    usedKb: (shared.segment.usedPages(0) + shared.segment.usedPages(1)) * 4,
    usagePercent: Math.round(shared.usagePercent),
    pressure: pressure(shared.usagePercent, stack.segments.options.highWatermark),
  }));
}

function pressure(percent: number, high: number): string {
  return percent >= 100 ? 'no memory' : percent >= high ? 'high' : percent >= 50 ? 'low' : 'none';
}

function showRules(stack: HostStack, args: string[]): Value | CommandError {
  const rows: Record<string, unknown>[] = [];
  const add = (scope: string, table: RulesTable): void => {
    for (const rule of table.list) rows.push({ scope, rule: formatRule(rule, protoName(rule.proto)) });
  };
  for (const namespace of stack.namespaces.values()) {
    if (args[0] !== 'appns' || args[1] === namespace.id) add(`local ${namespace.id}`, namespace.rules);
  }
  add('global', stack.layer.globalRules);
  return rows;
}

function sessionRule(stack: HostStack, args: string[]): Value | CommandError {
  const verb = args.shift();
  if (verb !== 'add' && verb !== 'del') return new CommandError(`usage: ${ruleUsage()}`);
  const options = new Map<string, string>();
  const rest: string[] = [];
  while (args.length > 0) {
    const word = args.shift()!;
    if (['appns', 'proto', 'action', 'tag', 'scope'].includes(word)) options.set(word, args.shift() ?? '');
    else rest.push(word);
  }
  const rule = parseRule(options, rest);
  if (rule instanceof CommandError) return rule;
  const scope = options.get('scope') ?? 'local';
  const namespace = stack.namespaces.get(options.get('appns') ?? 'default');
  if (namespace === undefined) return new CommandError(`no namespace '${options.get('appns')}'`);
  if (!['local', 'global', 'all'].includes(scope)) return new CommandError(`scope is local, global or all, not '${scope}'`);
  let changed = true;
  if (scope !== 'global') changed = change(namespace.rules, verb, rule) && changed;
  if (scope !== 'local') changed = change(stack.layer.globalRules, verb, rule) && changed;
  return changed ? {} : new CommandError('no such rule');
}

function change(table: RulesTable, verb: 'add' | 'del', rule: SessionRule): boolean {
  if (verb === 'del') return table.delete(rule);
  table.add(rule);
  return true;
}

function parseRule(options: Map<string, string>, rest: string[]): SessionRule | CommandError {
  const proto = protoByName(options.get('proto') ?? '');
  const local = parsePrefix(rest[0] ?? '');
  const remote = parsePrefix(rest[2] ?? '');
  const localPort = Number(rest[1]);
  const remotePort = Number(rest[3]);
  const validPort = (port: number): boolean => Number.isInteger(port) && port >= 0 && port <= 65535;
  if (proto === undefined) return new CommandError(`unknown proto '${options.get('proto') ?? ''}'`);
  if (local === null || remote === null || local.isV4 !== remote.isV4) return new CommandError(`usage: ${ruleUsage()}`);
  if (!validPort(localPort) || !validPort(remotePort) || rest.length !== 4) return new CommandError(`usage: ${ruleUsage()}`);
  const action = parseAction(options.get('action') ?? 'allow');
  if (action === null) return new CommandError(`action is allow, deny or the index of an application`);
  return { proto, local, localPort, remote, remotePort, action, tag: options.get('tag') ?? '' };
}

function parseAction(text: string): RuleAction | null {
  if (text === 'allow' || text === 'deny') return { kind: text };
  return /^\d+$/.test(text) ? { kind: 'redirect', appIndex: Number(text) } : null;
}

function addNamespace(stack: HostStack, args: string[]): Value | CommandError {
  const options = new Map<string, string>();
  for (let i = 0; i + 1 < args.length; i += 2) options.set(args[i], args[i + 1]);
  const fib = Number(options.get('fib') ?? 0);
  if (!Number.isInteger(fib) || fib < 0) return new CommandError('fib is a number');
  const error = stack.addNamespace({ id: options.get('id') ?? '', secret: options.get('secret'), fib });
  return error === null ? {} : new CommandError(error);
}
