/**
 * Commands about sessions, as vppctl's `show session` and `clear session`: which sessions are shown can be said by index, listeners, protocol,
 * state, application and addresses. There is one stack thread, so VPP's `thread T` takes only 0; its message queue events and FIFO traces are
 * left out.
 */
import type { HostStack } from '../host_stack.ts';
import { Endpoint } from '../session/endpoint.ts';
import { type Session, SessionState, stateName } from '../session/session.ts';
import { protoByName, protoName, TransportProto } from '../session/transport.ts';
import { type Command, CommandError, TextValue, type Value } from './command.ts';
import { formatTable } from './table.ts';

const SHOW_USAGE =
  'show session [verbose N] [INDEX] [listeners [PROTO]] [proto P] [state S] [app NAME] [lcl|rmt|ep IP[:PORT]] [range FROM TO] | show session protos|states|transport';

export const SESSION_COMMANDS: readonly Command[] = [
  { words: 'show session stats', usage: 'show session stats', run: showStats },
  { words: 'clear session stats', usage: 'clear session stats', run: clearStats },
  { words: 'show session protos', usage: 'show session protos', run: showProtos },
  { words: 'show session states', usage: 'show session states', run: showStates },
  { words: 'show session transport', usage: 'show session transport', run: showTransports },
  { words: 'show session', usage: SHOW_USAGE, run: showSession },
  { words: 'clear session', usage: 'clear session INDEX | clear session [thread 0] session INDEX', run: clearSession },
];

type Test = (session: Session) => boolean;

/** What the words of a `show session` choose. */
interface Choice {
  verbose: number;
  tests: Test[];
  range: [number, number] | null;
}

function showSession(stack: HostStack, args: string[]): Value | TextValue | CommandError {
  const choice = chosenBy([...args]);
  if (typeof choice === 'string') return new CommandError(choice);
  const { tests, range } = choice;
  let sessions = [...stack.layer.pool.all()].filter((session) => tests.every((test) => test(session)));
  if (range !== null) sessions = sessions.slice(range[0], range[1]);
  const some = tests.length > 0 || range !== null;
  if (choice.verbose > 0 || some) return sessionRows(stack, sessions, Math.max(choice.verbose, 1));
  const count = (test: Test): number => sessions.filter(test).length;
  return {
    sessions: sessions.length,
    listeners: count((session) => session.accept !== null),
    cutThrough: count((session) => session.connection !== null && session.fifos === null),
    connects: stack.layer.connects,
  };
}

/** An error text for words that say nothing. */
function chosenBy(words: string[]): Choice | string {
  const choice: Choice = { verbose: 0, tests: [], range: null };
  const usage = `usage: ${SHOW_USAGE}`;
  const whole = (text: string | undefined): number => (text !== undefined && /^\d{1,9}$/.test(text) ? Number(text) : -1);
  while (words.length > 0) {
    const word = words.shift()!;
    if (word === 'verbose') choice.verbose = whole(words[0]) < 0 ? 1 : whole(words.shift());
    else if (whole(word) >= 0) choice.tests.push((session) => session.index === Number(word));
    else if (word === 'thread') {
      if (words.shift() !== '0') return 'there is one thread: 0';
    } else if (word === 'index' || word === 'session') {
      const index = whole(words.shift());
      if (index < 0) return usage;
      choice.tests.push((session) => session.index === index);
    } else if (word === 'listeners') {
      choice.tests.push((session) => session.accept !== null);
      const proto = protoByName(words[0] ?? '');
      if (proto !== undefined) {
        words.shift();
        choice.tests.push((session) => session.proto === proto);
      }
    } else if (word === 'proto') {
      const name = words.shift() ?? '';
      const proto = protoByName(name);
      if (proto === undefined) return `unknown proto '${name}', there are ${Object.keys(TransportProto).join(', ')}`;
      choice.tests.push((session) => session.proto === proto || session.transport === proto);
    } else if (word === 'state') {
      const name = words.shift() ?? '';
      if (!(name in SessionState)) return `unknown state '${name}', there are ${Object.keys(SessionState).join(', ')}`;
      choice.tests.push((session) => stateName(session.state) === name);
    } else if (word === 'app') {
      const name = words.shift();
      if (name === undefined) return usage;
      choice.tests.push(({ worker }) => worker!.app.name === name || String(worker!.app.index) === name);
    } else if (word === 'lcl' || word === 'rmt' || word === 'ep') {
      const wanted = parseEndpoint(words.shift() ?? '');
      if (wanted === null) return `${word} takes an address such as 10.0.0.1, 10.0.0.1:80 or [fd00::1]:80`;
      choice.tests.push(
        ({ local, remote }) => (word !== 'rmt' && matches(local, wanted)) || (word !== 'lcl' && matches(remote, wanted)),
      );
    } else if (word === 'range') {
      const from = whole(words.shift());
      const to = whole(words.shift());
      if (from < 0 || to < from) return usage;
      choice.range = [from, to];
    } else return usage;
  }
  return choice;
}

/** Port 0: any. */
function parseEndpoint(text: string): Endpoint | null {
  const bracket = /^\[(.+)\](?::(\d+))?$/.exec(text);
  const plain = /^([\d.]+)(?::(\d+))?$/.exec(text);
  const [, ip, port = '0'] = bracket ?? plain ?? ['', text];
  return Number(port) > 0xffff ? null : Endpoint.parse(ip, Number(port));
}

function matches(is: Endpoint, wanted: Endpoint): boolean {
  const same = is.isV4 === wanted.isV4 && is.words.every((word, i) => word === wanted.words[i]);
  return same && (wanted.port === 0 || wanted.port === is.port);
}

/** For programs, transports say more than their line of text. */
function sessionRows(stack: HostStack, sessions: Session[], verbose: number): Value | TextValue {
  const rows = sessions.map((session) => describe(stack, session, verbose));
  if (verbose < 2) return rows;
  const full = sessions.map((session, i) => {
    const { details, ...row } = rows[i];
    const values = session.connection === null ? undefined : stack.layer.transports.get(session.transport)!.describe?.(session);
    return values === undefined ? rows[i] : { ...row, ...values };
  });
  return new TextValue(full, formatTable(rows));
}

function describe(stack: HostStack, session: Session, verbose: number): Record<string, unknown> {
  const row: Record<string, unknown> = {
    connection: `[${session.index}] ${protoName(session.transport)} ${session.local}->${session.remote}`,
    state: session.halfClosed ? `${stateName(session.state)}/half-closed` : stateName(session.state),
    app: session.worker!.app.name,
  };
  if (session.accept !== null) row['details'] = `waiting ${session.accept.waiting} backlog ${session.accept.backlog}`;
  else if (session.connection !== null) row['details'] = stack.layer.transports.get(session.transport)!.format(session, verbose);
  return row;
}

function showStats(stack: HostStack): Value {
  const rows = [...stack.namespaces.values()].map((namespace) => ({ table: `local ${namespace.id}`, ...namespace.local.counts }));
  return [...rows, { table: 'global 0', ...stack.layer.globalTables(0).counts }];
}

/** What was counted; the tables are what they are. */
function clearStats(stack: HostStack): Value {
  stack.layer.connects = 0;
  stack.layer.errorCounts.clear();
  return {};
}

function showProtos(stack: HostStack): Value {
  return Object.entries(TransportProto).map(([name, number]) => ({
    proto: name,
    number,
    transport: stack.layer.transports.has(number) ? 'yes' : 'no',
  }));
}

function showStates(): Value {
  return Object.entries(SessionState).map(([state, number]) => ({ state, number }));
}

function showTransports(stack: HostStack): Value {
  const sessions = [...stack.layer.pool.all()];
  return [...stack.layer.transports.values()].map(({ name, proto }) => {
    const own = sessions.filter((session) => session.transport === proto);
    const listeners = own.filter((session) => session.accept !== null).length;
    const connecting = own.filter((session) => session.state === SessionState.connecting).length;
    return { transport: name, listeners, connecting, sessions: own.length - listeners - connecting };
  });
}

function clearSession(stack: HostStack, args: string[]): Value | CommandError {
  const words = args[0] === 'thread' && args[1] === '0' ? args.slice(2) : args;
  const text = (words[0] === 'session' ? words[1] : words[0]) ?? '';
  for (const session of stack.layer.pool.all()) {
    if (String(session.index) !== text || session.connection === null) continue;
    stack.layer.abort(session);
    return {};
  }
  return new CommandError(`no session ${text}`);
}
