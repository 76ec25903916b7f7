/**
 * What `--expect` says about a response: `status=200`, `header:x-a=1`, `header:x-a` (is there), `body=text`, `body~pattern`,
 * `upstream=none`, `upstream.header:x-a=1`, `upstream.path=/x`, `metric:seen=1`, `log~pattern`. `!=` and `!~` say the opposite.
 */
import { UsageError } from './flags.ts';

/** What expectations are held against. */
export interface Outcome {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
  /** What the upstream got; null: nothing. */
  readonly upstream: {
    readonly method: string;
    readonly path: string;
    readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  } | null;
  readonly log: string;
  metric(name: string): number;
}

export interface Expectation {
  readonly text: string;
  /** Null: it holds; otherwise what was found instead. */
  check(outcome: Outcome): string | null;
}

type Subject = (outcome: Outcome) => string | undefined;

/** Throws UsageError. */
export function parseExpectation(text: string): Expectation {
  const match = /^([a-z.]+)(?::([^=~!]+))?(?:(!?[=~])(.*))?$/s.exec(text);
  const subject = match === null ? undefined : subjectOf(match[1], match[2]);
  if (match === null || subject === undefined) {
    throw new UsageError(
      `--expect: cannot read '${text}'; such are: status=200, header:NAME=VALUE, body~PATTERN, upstream=none, upstream.header:NAME=VALUE, upstream.path=/x, metric:NAME=1, log~PATTERN`,
    );
  }
  const [, , , operator, wanted] = match;
  const holds = operator === undefined ? (found?: string) => found !== undefined : comparison(text, operator, wanted);
  return {
    text,
    check: (outcome) => {
      const found = subject(outcome);
      return holds(found) ? null : (found ?? 'nothing');
    },
  };
}

function comparison(text: string, operator: string, wanted: string): (found: string | undefined) => boolean {
  const negated = operator.startsWith('!');
  if (operator.endsWith('=')) return (found) => (found === wanted) !== negated;
  let pattern: RegExp;
  try {
    pattern = new RegExp(wanted);
  } catch (error) {
    throw new UsageError(`--expect: '${text}': ${(error as Error).message}`);
  }
  return (found) => (found !== undefined && pattern.test(found)) !== negated;
}

function subjectOf(kind: string, name: string | undefined): Subject | undefined {
  if (name === undefined) return SUBJECTS[kind];
  const lower = name.toLowerCase();
  if (kind === 'header') return ({ headers }) => joined(headers[lower]);
  if (kind === 'upstream.header') return ({ upstream }) => joined(upstream?.headers[lower]);
  if (kind === 'metric') return (outcome) => String(outcome.metric(name));
  return undefined;
}

const SUBJECTS: Readonly<Record<string, Subject>> = {
  status: ({ status }) => String(status),
  body: ({ body }) => body,
  log: ({ log }) => log,
  upstream: ({ upstream }) => (upstream === null ? 'none' : `${upstream.method} ${upstream.path}`),
  'upstream.path': ({ upstream }) => upstream?.path,
  'upstream.method': ({ upstream }) => upstream?.method,
};

function joined(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value.join(',') : value;
}
