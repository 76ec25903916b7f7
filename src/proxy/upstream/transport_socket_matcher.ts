/**
 * Which transport socket a host gets (Envoy: TransportSocketMatcherImpl): the first of `transport_socket_matches` whose `match` is all in
 * the host's metadata, under `envoy.transport_socket_match`, its locality's where it has none; otherwise the cluster's `transport_socket`.
 */
import type { Counter, Scope } from '../../core/stats/stats.ts';
import { sameValue } from '../common/struct_value.ts';
import { ConfigError } from '../config/error.ts';
import type { TransportSocketFactory } from '../network/transport_socket.ts';
import {
  createTransportSocketFactory,
  type TransportSocketConfigFactory,
  type TransportSocketContext,
  type TransportSocketMessage,
} from '../network/transport_socket_config.ts';

const METADATA_KEY = 'envoy.transport_socket_match';

/** A message of `Cluster.transport_socket_matches`. */
export interface TransportSocketMatchConfig {
  name: string;
  match?: Record<string, unknown>;
  transportSocket?: TransportSocketMessage;
}

type Metadata = Readonly<Record<string, Readonly<Record<string, unknown>>>>;

interface Match {
  readonly labels: readonly (readonly [key: string, value: unknown])[];
  /** Null: plain text. */
  readonly factory: TransportSocketFactory | null;
  /** Hosts (their pools) that took it. */
  readonly count: Counter;
}

export class TransportSocketMatcher {
  private readonly matches: readonly Match[];
  private readonly otherwise: Match;

  /** Throws ConfigError, its path from the cluster's message. */
  constructor(
    matches: readonly TransportSocketMatchConfig[],
    otherwise: TransportSocketMessage | undefined,
    find: (typeName: string) => TransportSocketConfigFactory | undefined,
    context: TransportSocketContext,
  ) {
    const create = (message: TransportSocketMessage | undefined, path: string): TransportSocketFactory | null => {
      try {
        return createTransportSocketFactory(message, find, context);
      } catch (error) {
        if (!(error instanceof ConfigError) || error.file !== undefined) throw error;
        throw new ConfigError(error.reason, { path: error.path === '' ? path : `${path}.${error.path}` });
      }
    };
    const count = (name: string): Counter => matchCounter(context.statsScope, name);
    this.otherwise = { labels: [], factory: create(otherwise, 'transport_socket'), count: count('default') };
    const names = new Set<string>();
    this.matches = matches.map((match, i) => {
      const path = `transport_socket_matches[${i}]`;
      if (names.has(match.name))
        throw new ConfigError(`Multiple transport socket matches with the same name: ${match.name}`, { path: `${path}.name` });
      names.add(match.name);
      return {
        labels: Object.entries(match.match ?? {}),
        factory: create(match.transportSocket, `${path}.transport_socket`),
        count: count(match.name),
      };
    });
  }

  /** Null: plain text. */
  resolve(metadata: Metadata, localityMetadata: Metadata): TransportSocketFactory | null {
    let chosen = this.otherwise;
    if (this.matches.length > 0) {
      const labels = metadata[METADATA_KEY] ?? localityMetadata[METADATA_KEY] ?? {};
      chosen = this.matches.find((match) => match.labels.every(([key, value]) => sameValue(labels[key], value))) ?? chosen;
    }
    chosen.count.inc();
    return chosen.factory;
  }

  /** Every socket that a host can get. */
  *factories(): Iterable<TransportSocketFactory | null> {
    yield this.otherwise.factory;
    for (const match of this.matches) yield match.factory;
  }
}

function matchCounter(scope: Scope, name: string): Counter {
  return scope.counter(`${name.replaceAll(':', '_')}.total_match_count`);
}
