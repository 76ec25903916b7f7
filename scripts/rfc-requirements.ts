/**
 * Which requirements of RFC 9293 (appendix B), and the main ones of its neighbours by section, have a test:
 * `node scripts/rfc-requirements.ts [--missing]` prints a table. A test says what it shows in a comment line in front of it:
 * `// MUST-10 SHLD-5 RFC5961-3.2`. Exit status 1 when a MUST or a section has neither a test nor a reason here.
 */
import { globSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));

/** All MUST and MUST NOT, and the SHOULDs and MAYs that tests name. */
const REQUIREMENTS: Readonly<Record<string, string>> = {
  'MUST-1': 'window is an unsigned number',
  'MUST-2': 'sender computes the checksum',
  'MUST-3': 'receiver checks the checksum',
  'MUST-4': 'end of list, no-operation and MSS options',
  'MUST-5': 'options in any segment',
  'MUST-6': 'unknown options are ignored',
  'MUST-7': 'illegal option lengths are survived',
  'MUST-8': 'clock-driven initial sequence numbers',
  'MUST-9': 'they cannot be computed from outside',
  'MUST-10': 'simultaneous open',
  'MUST-11': 'SYN-RECEIVED remembers where it came from',
  'MUST-12': 'the application hears of an aborted connection',
  'MUST-13': 'TIME-WAIT for 2 MSL',
  'MUST-14': 'MSS option sent and received',
  'MUST-15': 'MSS without the option: 536, 1220',
  'MUST-16': 'effective send MSS',
  'MUST-17': 'Nagle can be turned off',
  'MUST-18': "Karn's algorithm",
  'MUST-19': 'backoff, slow start, congestion avoidance',
  'MUST-20': 'R1 and R2',
  'MUST-21': 'the application can set R2',
  'MUST-22': 'the same for SYNs',
  'MUST-23': 'R2 of a SYN at least three minutes',
  'MUST-24': 'keepalive on request',
  'MUST-25': 'keepalive off by default',
  'MUST-26': 'keepalive only when idle',
  'MUST-27': 'keepalive interval configurable',
  'MUST-28': 'keepalive after two hours at least',
  'MUST-29': 'one lost keepalive answer ends nothing',
  'MUST-30': 'urgent pointer',
  'MUST-31': 'urgent data of any length',
  'MUST-32': 'the application hears of urgent data',
  'MUST-33': 'the application learns how much is urgent',
  'MUST-34': 'robust against a shrinking window',
  'MUST-35': 'zero-window probing',
  'MUST-36': 'the sender probes',
  'MUST-37': 'a window may stay closed for ever',
  'MUST-38': 'silly window avoidance of the sender',
  'MUST-39': 'silly window avoidance of the receiver',
  'MUST-40': 'delayed ACK below half a second',
  'MUST-41': 'a passive OPEN does not disturb others',
  'MUST-42': 'several LISTENs for a port',
  'MUST-43': 'local address as a parameter of OPEN',
  'MUST-44': 'else IP chooses the source address',
  'MUST-45': 'and later segments keep it',
  'MUST-46': 'no OPEN to broadcast and multicast',
  'MUST-47': 'errors are reported to the application',
  'MUST-48': 'the application sets the type of service',
  'MUST-49': 'time to live is configurable',
  'MUST-50': 'IP options that are not understood are ignored',
  'MUST-51': 'source route of the application',
  'MUST-52': 'it comes before that of a datagram',
  'MUST-53': 'return route from a source route',
  'MUST-54': 'ICMP errors are acted on',
  'MUST-55': 'source quench is discarded',
  'MUST-56': 'soft ICMP errors end nothing',
  'MUST-57': 'SYNs to broadcast and multicast are discarded',
  'MUST-58': 'ACKs are aggregated',
  'MUST-59': 'what is queued is processed before the ACK',
  'MUST-60': 'unpushed data does not wait for ever',
  'MUST-61': 'PSH in the last segment',
  'MUST-62': 'urgent pointer: the octet that follows the urgent data',
  'MUST-63': 'SYNs from invalid addresses are rejected',
  'MUST-64': 'options at any alignment',
  'MUST-65': 'MSS on SYNs only',
  'MUST-66': 'RST and URG with a closed window',
  'MUST-67': 'MSS from what can be received',
  'MUST-68': 'options have lengths',
  'MUST-69': 'options are padded with zeros',
};

/** Of the RFCs around it, by section. */
const SECTIONS: Readonly<Record<string, string>> = {
  'RFC5961-3.2': 'resets: exact, challenged, ignored',
  'RFC5961-4.2': 'a SYN is challenged',
  'RFC5961-5.2': 'the range of acknowledgments that count',
  'RFC5961-7': 'challenges are limited',
  'RFC6298-2.1': 'one second before the first sample',
  'RFC6298-2.2': 'the first sample',
  'RFC6298-2.3': 'later samples',
  'RFC6298-2.4': 'one second at least',
  'RFC6298-2.5': 'a maximum of at least 60 s',
  'RFC6298-3': "Karn's algorithm",
  'RFC6298-5.5': 'backoff',
  'RFC6298-5.7': 'three seconds after a lost SYN',
  'RFC8985-6.2': 'loss by time, at each acknowledgment',
  'RFC8985-6.2.2': 'the reordering window adapts',
  'RFC8985-7.2': 'a probe is scheduled before the RTO',
  'RFC8985-7.3': 'the probe is the last segment or new data',
  'RFC8985-8': 'one window reduction for a recovery',
};

/** Requirements that are not met, and why. */
const LEFT_OUT: Readonly<Record<string, string>> = {
  'MUST-51': 'source routes are never sent (RFC 7126)',
  'MUST-52': 'source routes are never sent (RFC 7126)',
  'MUST-53': 'source routes are never followed (RFC 7126)',
  'RFC6298-2.4': 'a SHOULD: 200 ms on top of the smoothed round trip, as Linux',
};

export interface Coverage {
  id: string;
  title: string;
  /** `file: name` of each test. */
  tests: string[];
  leftOut: string | undefined;
}

/** What the tests say of themselves. */
export function coverage(): Coverage[] {
  const tests = new Map<string, string[]>();
  for (const file of globSync(['test/stack/**/*.test.ts', 'test/sim/*.test.ts'], { cwd: root }).sort()) {
    const lines = readFileSync(`${root}${file}`, 'utf8').split('\n');
    lines.forEach((line, i) => {
      if (!/^\s*\/\/ (?:(?:(?:MUST|SHLD|MAY|REC)-\d+|RFC\d+-[\d.]+) ?)+$/.test(line)) return;
      const name = /test\(\s*(['"`])(.*?)\1/.exec(lines.slice(i + 1, i + 4).join(' '))?.[2];
      if (name === undefined) throw new Error(`${file}:${i + 1}: no test follows`);
      for (const id of line.trim().slice(3).split(' ')) tests.set(id, [...(tests.get(id) ?? []), `${file}: ${name}`]);
    });
  }
  const titles: Readonly<Record<string, string>> = { ...REQUIREMENTS, ...SECTIONS };
  const others = [...tests.keys()].filter((id) => !Object.hasOwn(titles, id)).sort();
  return [...Object.keys(titles), ...others].map((id) => ({
    id,
    title: titles[id] ?? '',
    tests: tests.get(id) ?? [],
    leftOut: LEFT_OUT[id],
  }));
}

/** MUSTs and sections with neither a test nor a reason. */
export function missing(rows: readonly Coverage[]): Coverage[] {
  return rows.filter(({ id, tests, leftOut }) => /^(?:MUST|RFC)/.test(id) && tests.length === 0 && leftOut === undefined);
}

if (import.meta.main) {
  const rows = coverage();
  const shown = process.argv.includes('--missing') ? missing(rows) : rows;
  for (const { id, title, tests, leftOut } of shown)
    process.stdout.write(`${id.padEnd(14)} ${title.padEnd(48)} ${tests.join('; ') || `NOT MET: ${leftOut ?? 'no test'}`}\n`);
  const musts = rows.filter(({ id }) => id.startsWith('MUST'));
  const tested = musts.filter(({ tests }) => tests.length > 0).length;
  const leftOut = musts.filter(({ leftOut: reason }) => reason !== undefined).length;
  process.stdout.write(`${tested} of ${musts.length} MUSTs have a test, ${leftOut} are left out for a reason\n`);
  process.exitCode = missing(rows).length > 0 ? 1 : 0;
}
