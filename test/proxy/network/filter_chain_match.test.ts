import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ConfigError } from '../../../src/proxy/config/error.ts';
import { type Address, ipAddress, pipeAddress } from '../../../src/proxy/network/address.ts';
import {
  type ConnectionSourceType,
  type FilterChainMatchConfig,
  FilterChainMatcher,
  type FilterChainMatchInput,
} from '../../../src/proxy/network/filter_chain_match.ts';

const EMPTY: FilterChainMatchConfig = {
  prefixRanges: [],
  addressSuffix: '',
  directSourcePrefixRanges: [],
  sourceType: 'ANY',
  sourcePrefixRanges: [],
  sourcePorts: [],
  serverNames: [],
  transportProtocol: '',
  applicationProtocols: [],
};

type Rules = Partial<FilterChainMatchConfig>;

const DEFAULT_INPUT: FilterChainMatchInput = {
  localAddress: ipAddress('10.0.0.1', 443),
  remoteAddress: ipAddress('192.0.2.7', 5000),
  directRemoteAddress: ipAddress('192.0.2.7', 5000),
  requestedServerName: '',
  detectedTransportProtocol: 'raw_buffer',
  requestedApplicationProtocols: [],
};

function matcher(chains: Record<string, Rules>, fallback?: string): FilterChainMatcher<string> {
  const result = new FilterChainMatcher<string>('127.0.0.1:1234');
  for (const [name, rules] of Object.entries(chains)) result.add({ ...EMPTY, ...rules }, name, name);
  if (fallback !== undefined) result.setDefault(fallback);
  return result;
}

const cidr = (text: string) => {
  const [addressPrefix, length] = text.split('/');
  return { addressPrefix, prefixLen: Number(length) };
};

interface Case {
  title: string;
  chains: Record<string, Rules>;
  fallback?: string;
  input: Partial<FilterChainMatchInput>;
  expected: string | null;
}

const PORTS = { p443: { destinationPort: 443, serverNames: ['a.com'] }, any: {} };
const PREFIXES = {
  wide: { prefixRanges: [cidr('10.0.0.0/8')] },
  narrow: { prefixRanges: [cidr('10.0.0.0/24')], serverNames: ['a.com'] },
  any: {},
};
const NAMES = {
  exact: { serverNames: ['www.example.com'], transportProtocol: 'tls' },
  sub: { serverNames: ['*.example.com'] },
  com: { serverNames: ['*.com'] },
  any: {},
};
const TRANSPORTS = { tls: { transportProtocol: 'tls', applicationProtocols: ['h2'] }, any: {} };
const ALPN = { h2: { applicationProtocols: ['h2'], sourcePorts: [1] }, h1: { applicationProtocols: ['http/1.1'] }, any: {} };
const DIRECT = { inner: { directSourcePrefixRanges: [cidr('192.0.2.0/24')], sourcePorts: [1] }, any: {} };
const TYPES = {
  local: { sourceType: 'SAME_IP_OR_LOOPBACK' as const },
  external: { sourceType: 'EXTERNAL' as const, sourcePorts: [1] },
  any: {},
};
const SOURCES = {
  inner: { sourcePrefixRanges: [cidr('192.0.2.0/24')], sourcePorts: [1] },
  outer: { sourcePrefixRanges: [cidr('192.0.0.0/16')] },
};
const SOURCE_PORTS = { five: { sourcePorts: [5000, 5001] }, any: {} };

const remote = (ip: string, port = 5000): Partial<FilterChainMatchInput> => ({
  remoteAddress: ipAddress(ip, port),
  directRemoteAddress: ipAddress(ip, port),
});

const CASES: Case[] = [
  { title: 'port: exact entry', chains: PORTS, input: { requestedServerName: 'a.com' }, expected: 'p443' },
  {
    title: 'port: an entry that fails further down is not given up for the catch-all',
    chains: PORTS,
    fallback: 'd',
    input: {},
    expected: 'd',
  },
  {
    title: 'port: no entry, so the catch-all',
    chains: PORTS,
    input: { localAddress: ipAddress('10.0.0.1', 80) },
    expected: 'any',
  },
  { title: 'port: pipes only see the catch-all', chains: PORTS, input: { localAddress: pipeAddress('/x') }, expected: 'any' },
  { title: 'destination: longest prefix', chains: PREFIXES, input: { requestedServerName: 'a.com' }, expected: 'narrow' },
  { title: 'destination: no way back to a wider prefix', chains: PREFIXES, input: {}, expected: null },
  { title: 'destination: wider prefix', chains: PREFIXES, input: { localAddress: ipAddress('10.9.9.9', 443) }, expected: 'wide' },
  { title: 'destination: any', chains: PREFIXES, input: { localAddress: ipAddress('11.0.0.1', 443) }, expected: 'any' },
  { title: 'destination: other family', chains: PREFIXES, input: { localAddress: ipAddress('::1', 443) }, expected: 'any' },
  {
    title: 'server name: exact',
    chains: NAMES,
    input: { requestedServerName: 'www.example.com', detectedTransportProtocol: 'tls' },
    expected: 'exact',
  },
  {
    title: 'server name: exact does not fall back to the wildcard',
    chains: NAMES,
    input: { requestedServerName: 'www.example.com' },
    expected: null,
  },
  { title: 'server name: longest suffix', chains: NAMES, input: { requestedServerName: 'a.b.example.com' }, expected: 'sub' },
  { title: 'server name: shorter suffix', chains: NAMES, input: { requestedServerName: 'example.com' }, expected: 'com' },
  { title: 'server name: none', chains: NAMES, input: {}, expected: 'any' },
  { title: 'server name: unknown', chains: NAMES, input: { requestedServerName: 'example.org' }, expected: 'any' },
  { title: 'server name: trailing dot', chains: NAMES, input: { requestedServerName: 'com.' }, expected: 'any' },
  { title: 'transport: no way back', chains: TRANSPORTS, input: { detectedTransportProtocol: 'tls' }, expected: null },
  { title: 'transport: unset', chains: TRANSPORTS, input: {}, expected: 'any' },
  {
    title: "alpn: the client's order decides, and nothing after the first hit",
    chains: ALPN,
    input: { requestedApplicationProtocols: ['h2', 'http/1.1'] },
    expected: null,
  },
  { title: 'alpn: first known', chains: ALPN, input: { requestedApplicationProtocols: ['x', 'http/1.1', 'h2'] }, expected: 'h1' },
  { title: 'alpn: unset', chains: ALPN, input: { requestedApplicationProtocols: ['x'] }, expected: 'any' },
  { title: 'direct source: no way back', chains: DIRECT, input: {}, expected: null },
  {
    title: 'direct source: the socket peer, not the restored one',
    chains: DIRECT,
    input: { directRemoteAddress: ipAddress('198.51.100.1', 1), remoteAddress: ipAddress('192.0.2.1', 1) },
    expected: 'any',
  },
  { title: 'source type: loopback', chains: TYPES, input: remote('127.9.9.9'), expected: 'local' },
  { title: 'source type: v6 loopback', chains: TYPES, input: remote('::1'), expected: 'local' },
  { title: 'source type: same ip', chains: TYPES, input: remote('10.0.0.1'), expected: 'local' },
  {
    title: 'source type: pipe',
    chains: TYPES,
    input: { remoteAddress: pipeAddress(''), directRemoteAddress: pipeAddress('') },
    expected: 'local',
  },
  { title: 'source type: external with a failing port', chains: TYPES, input: {}, expected: null },
  { title: 'source type: external', chains: TYPES, input: remote('192.0.2.7', 1), expected: 'external' },
  { title: 'source: no way back', chains: SOURCES, input: {}, expected: null },
  { title: 'source: longest prefix', chains: SOURCES, input: remote('192.0.2.9', 1), expected: 'inner' },
  { title: 'source: wider', chains: SOURCES, input: remote('192.0.9.9'), expected: 'outer' },
  { title: 'source port: exact', chains: SOURCE_PORTS, input: remote('192.0.2.7', 5001), expected: 'five' },
  { title: 'source port: any', chains: SOURCE_PORTS, input: remote('192.0.2.7', 1), expected: 'any' },
  { title: 'source port: pipes have none', chains: SOURCE_PORTS, input: { remoteAddress: pipeAddress('') }, expected: 'any' },
];

for (const { title, chains, fallback, input, expected } of CASES) {
  test(`filter chain match: ${title}`, () => {
    assert.equal(matcher(chains, fallback).find({ ...DEFAULT_INPUT, ...input }), expected);
  });
}

test('filter chain match: names are compared in lower case', () => {
  const one = matcher({ a: { serverNames: ['WWW.Example.com'] } });
  assert.equal(one.find({ ...DEFAULT_INPUT, requestedServerName: 'www.example.com' }), 'a');
});

const ERRORS: [string, Record<string, Rules>, string][] = [
  [
    'partial wildcard',
    { a: { serverNames: ['f*.com'] } },
    'error adding listener \'127.0.0.1:1234\': partial wildcards are not supported in "server_names"',
  ],
  [
    'lone star',
    { a: { serverNames: ['*'] } },
    'error adding listener \'127.0.0.1:1234\': partial wildcards are not supported in "server_names"',
  ],
  [
    'suffix',
    { a: { addressSuffix: 'x' } },
    "error adding listener '127.0.0.1:1234': filter chain 'a' contains unimplemented fields",
  ],
  [
    'equal',
    { a: { serverNames: ['x.com'] }, b: { serverNames: ['x.com'] } },
    `error adding listener '127.0.0.1:1234': filter chain 'b' has the same matching rules defined as 'a'. duplicate matcher is: {"server_names":["x.com"]}`,
  ],
  [
    'overlapping',
    { a: { serverNames: ['x.com', 'y.com'] }, b: { serverNames: ['y.com'] } },
    "error adding listener '127.0.0.1:1234': multiple filter chains with overlapping matching rules are defined",
  ],
  [
    'overlapping ranges that only differ in host bits',
    { a: { prefixRanges: [cidr('10.0.0.1/8')] }, b: { prefixRanges: [cidr('10.0.0.2/8')] } },
    "error adding listener '127.0.0.1:1234': multiple filter chains with overlapping matching rules are defined",
  ],
];

for (const [title, chains, reason] of ERRORS) {
  test(`filter chain match: refuses ${title}`, () => {
    assert.throws(
      () => matcher(chains),
      (error: unknown) => error instanceof ConfigError && error.reason === reason,
    );
  });
}

test('filter chain match: refuses malformed ranges, naming the field', () => {
  assert.throws(
    () => matcher({ a: { prefixRanges: [cidr('1.2.3.4/33')] } }),
    /filter_chain_match\.prefix_ranges\[0\]: invalid ip\/mask combo/,
  );
  assert.throws(
    () => matcher({ a: { sourcePrefixRanges: [cidr('nope/8')] } }),
    /source_prefix_ranges\[0\]: malformed IP address: nope/,
  );
});

// --- against a naive reading of the same rules: filter the chains level by level, keep the most specific ones.

type Level = (rules: FilterChainMatchConfig, input: FilterChainMatchInput) => number;

/** How specific a chain's rule is for the input; -1 when it does not match. Higher wins; all others are out for good. */
const LEVELS: Level[] = [
  (r, i) =>
    i.localAddress.kind === 'ip' && r.destinationPort === i.localAddress.port ? 1 : r.destinationPort === undefined ? 0 : -1,
  (r, i) => best(r.prefixRanges, (c) => prefixScore(c, i.localAddress)),
  (r, i) => best(r.serverNames, (name) => nameScore(name, i.requestedServerName)),
  (r, i) => (r.transportProtocol === '' ? 0 : r.transportProtocol === i.detectedTransportProtocol ? 1 : -1),
  (r, i) =>
    best(r.applicationProtocols, (p) => {
      const at = i.requestedApplicationProtocols.indexOf(p);
      return at < 0 ? -1 : 100 - at;
    }),
  (r, i) => best(r.directSourcePrefixRanges, (c) => prefixScore(c, i.directRemoteAddress)),
  (r, i) => {
    const ip = i.remoteAddress.kind === 'ip' ? i.remoteAddress.ip : '';
    const isLocal = ip.startsWith('127.') || (i.localAddress.kind === 'ip' && i.localAddress.ip === ip);
    return r.sourceType === 'ANY' ? 0 : (r.sourceType === 'SAME_IP_OR_LOOPBACK') === isLocal ? 1 : -1;
  },
  (r, i) => best(r.sourcePrefixRanges, (c) => prefixScore(c, i.remoteAddress)),
  (r, i) => best(r.sourcePorts, (port) => (i.remoteAddress.kind === 'ip' && i.remoteAddress.port === port ? 1 : -1)),
];

function best<V>(values: V[], score: (value: V) => number): number {
  return values.length === 0 ? 0 : Math.max(...values.map(score));
}

function prefixScore(range: { addressPrefix: string; prefixLen?: number }, address: Address): number {
  if (address.kind !== 'ip') return -1;
  const bits = (ip: string) => ip.split('.').reduce((text, part) => text + Number(part).toString(2).padStart(8, '0'), '');
  const length = range.prefixLen ?? 0;
  return bits(range.addressPrefix).slice(0, length) === bits(address.ip).slice(0, length) ? 1 + length : -1;
}

function nameScore(name: string, wanted: string): number {
  if (!name.startsWith('*.')) return name === wanted ? 1000 : -1;
  return wanted.endsWith(name.slice(1)) && wanted.length > name.length - 1 ? name.length : -1;
}

function naive(chains: [string, FilterChainMatchConfig][], input: FilterChainMatchInput): string | null {
  let left = chains;
  for (const level of LEVELS) {
    const top = Math.max(-1, ...left.map(([, rules]) => level(rules, input)));
    if (top < 0) return null;
    left = left.filter(([, rules]) => level(rules, input) === top);
  }
  return left[0]?.[0] ?? null;
}

const IPS = ['10.0.0.1', '10.0.0.9', '10.1.0.1', '127.0.0.1', '192.0.2.1'];
const RANGES = ['10.0.0.0/8', '10.0.0.0/24', '10.0.0.1/32', '127.0.0.0/8', '0.0.0.0/0'].map(cidr);
const some = <V>(values: V[]) =>
  fc.oneof(
    { weight: 2, arbitrary: fc.constant<V[]>([]) },
    { weight: 1, arbitrary: fc.uniqueArray(fc.constantFrom(...values), { minLength: 1, maxLength: 2 }) },
  );
const rulesArbitrary: fc.Arbitrary<FilterChainMatchConfig> = fc.record({
  destinationPort: fc.oneof({ weight: 2, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary: fc.constantFrom(80, 443) }),
  prefixRanges: some(RANGES),
  addressSuffix: fc.constant(''),
  directSourcePrefixRanges: some(RANGES),
  sourceType: fc.constantFrom<ConnectionSourceType>('ANY', 'ANY', 'SAME_IP_OR_LOOPBACK', 'EXTERNAL'),
  sourcePrefixRanges: some(RANGES),
  sourcePorts: some([1, 2]),
  serverNames: some(['a.com', 'b.a.com', '*.a.com', '*.com']),
  transportProtocol: fc.constantFrom('', '', 'tls'),
  applicationProtocols: some(['h2', 'http/1.1']),
});
const inputArbitrary: fc.Arbitrary<FilterChainMatchInput> = fc.record({
  localAddress: fc.tuple(fc.constantFrom(...IPS), fc.constantFrom(80, 443, 8080)).map(([ip, port]) => ipAddress(ip, port)),
  remoteAddress: fc.tuple(fc.constantFrom(...IPS), fc.constantFrom(1, 2, 3)).map(([ip, port]) => ipAddress(ip, port)),
  directRemoteAddress: fc.constantFrom(...IPS).map((ip) => ipAddress(ip, 9)),
  requestedServerName: fc.constantFrom('', 'a.com', 'b.a.com', 'c.b.a.com', 'x.com', 'x.org'),
  detectedTransportProtocol: fc.constantFrom('tls', 'raw_buffer'),
  requestedApplicationProtocols: fc.constantFrom<string[]>([], ['h2'], ['http/1.1', 'h2'], ['h2', 'http/1.1'], ['x']),
});

test('filter chain match: the same answer as a naive reading of the rules', () => {
  let compared = 0;
  fc.assert(
    fc.property(
      fc.array(rulesArbitrary, { minLength: 1, maxLength: 8 }),
      fc.array(inputArbitrary, { minLength: 5, maxLength: 20 }),
      (rules, inputs) => {
        const subject = new FilterChainMatcher<string>('x');
        const accepted: [string, FilterChainMatchConfig][] = [];
        rules.forEach((rule, i) => {
          // A chain that cannot be added may have been added in part: start over without it.
          const probe = new FilterChainMatcher<string>('x');
          for (const [name, other] of accepted) probe.add(other, name, name);
          try {
            probe.add(rule, `c${i}`, `c${i}`);
          } catch (error) {
            assert.ok(error instanceof ConfigError);
            return;
          }
          accepted.push([`c${i}`, rule]);
        });
        for (const [name, rule] of accepted) subject.add(rule, name, name);
        for (const input of inputs) {
          compared++;
          assert.equal(subject.find(input), naive(accepted, input));
        }
      },
    ),
    { numRuns: 400 },
  );
  assert.ok(compared > 1000);
});
