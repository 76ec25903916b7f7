/** `ListenerFilter.filter_disabled`: when a listener filter is left out of a connection (Envoy: ListenerFilterMatcher). */
import { ConfigError } from '../config/error.ts';
import type { AcceptedSocket } from './server_connection.ts';

/** `envoy.config.listener.v3.ListenerFilterChainMatchPredicate`. */
export interface ListenerFilterPredicateConfig {
  orMatch?: { rules: ListenerFilterPredicateConfig[] };
  andMatch?: { rules: ListenerFilterPredicateConfig[] };
  notMatch?: ListenerFilterPredicateConfig;
  anyMatch?: boolean;
  /** start <= port < end. */
  destinationPortRange?: { start: number; end: number };
}

export type ListenerFilterPredicate = (socket: AcceptedSocket) => boolean;

export function listenerFilterPredicate(config: ListenerFilterPredicateConfig): ListenerFilterPredicate {
  if (config.orMatch !== undefined) {
    const rules = config.orMatch.rules.map(listenerFilterPredicate);
    return (socket) => rules.some((rule) => rule(socket));
  }
  if (config.andMatch !== undefined) {
    const rules = config.andMatch.rules.map(listenerFilterPredicate);
    return (socket) => rules.every((rule) => rule(socket));
  }
  if (config.notMatch !== undefined) {
    const rule = listenerFilterPredicate(config.notMatch);
    return (socket) => !rule(socket);
  }
  if (config.anyMatch !== undefined) return () => true;
  const range = config.destinationPortRange;
  if (range !== undefined) {
    return (socket) =>
      socket.localAddress.kind === 'ip' && socket.localAddress.port >= range.start && socket.localAddress.port < range.end;
  }
  throw new ConfigError('a listener filter predicate needs a rule');
}
