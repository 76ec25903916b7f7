/**
 * What an authorization service says about one request or connection, whichever way it was asked (Envoy: filters/common/ext_authz).
 */

import type { HeaderMap } from '../../../http/header_map.ts';
import { type HeaderPair, isSafeHeader } from '../../../http/safe_header.ts';

export interface Authorization {
  readonly status: 'ok' | 'denied' | 'error';
  /** Of the answer to a client that is denied; 0: 403. */
  statusCode: number;
  body: Uint8Array;
  /** Of the request when it is allowed, of the answer when it is denied. */
  readonly set: HeaderPair[];
  /** To values that are there. */
  readonly append: HeaderPair[];
  /** Beside values that are there. */
  readonly add: HeaderPair[];
  readonly addIfAbsent: HeaderPair[];
  readonly overwriteIfPresent: HeaderPair[];
  readonly remove: string[];
  /** Of the response to a request that is allowed. */
  readonly responseSet: HeaderPair[];
  readonly responseAdd: HeaderPair[];
  readonly querySet: HeaderPair[];
  readonly queryRemove: string[];
  metadata: Record<string, unknown> | null;
}

export interface AuthorizationCallbacks {
  onAuthorization(authorization: Authorization): void;
}

const NO_BODY = new Uint8Array();

export function newAuthorization(status: Authorization['status']): Authorization {
  return {
    status,
    statusCode: 0,
    body: NO_BODY,
    set: [],
    append: [],
    add: [],
    addIfAbsent: [],
    overwriteIfPresent: [],
    remove: [],
    responseSet: [],
    responseAdd: [],
    querySet: [],
    queryRemove: [],
    metadata: null,
  };
}

/** Changes a request that is allowed. True: something changed. */
export function applyToRequest(authorization: Authorization, headers: HeaderMap): boolean {
  const { set, add, append, addIfAbsent, overwriteIfPresent, remove, querySet, queryRemove } = authorization;
  let changed = false;
  for (const pair of set) if (isSafeHeader(pair)) changed = apply(() => headers.set(pair[0], pair[1]));
  for (const pair of addIfAbsent) {
    if (isSafeHeader(pair) && !headers.has(pair[0])) changed = apply(() => headers.add(pair[0], pair[1]));
  }
  for (const pair of overwriteIfPresent) {
    if (isSafeHeader(pair) && headers.has(pair[0])) changed = apply(() => headers.set(pair[0], pair[1]));
  }
  for (const pair of add) if (isSafeHeader(pair) && pair[0][0] !== ':') changed = apply(() => headers.add(pair[0], pair[1]));
  for (const pair of append)
    if (isSafeHeader(pair) && headers.has(pair[0])) changed = apply(() => headers.append(pair[0], pair[1]));
  for (const name of remove) {
    if (name.startsWith(':') || name === 'host') continue;
    if (headers.remove(name) > 0) changed = true;
  }
  if (querySet.length > 0 || queryRemove.length > 0) {
    headers.set(':path', withQuery(headers.get(':path') ?? '', querySet, queryRemove));
    changed = true;
  }
  return changed;
}

function apply(change: () => void): true {
  change();
  return true;
}

export function applyToResponse(authorization: Authorization, headers: HeaderMap): void {
  for (const pair of authorization.responseAdd) if (isSafeHeader(pair) && pair[0][0] !== ':') headers.add(pair[0], pair[1]);
  for (const pair of authorization.responseSet) if (isSafeHeader(pair) && pair[0][0] !== ':') headers.set(pair[0], pair[1]);
}

/** Of the answer to a client that is denied: all values of a name take the place of what is there. */
export function applyToDenial(authorization: Authorization, headers: HeaderMap): void {
  const all = [...authorization.set, ...authorization.add].filter((pair) => isSafeHeader(pair) && pair[0][0] !== ':');
  for (const [name] of all) headers.remove(name);
  for (const [name, value] of all) headers.add(name, value);
}

function withQuery(path: string, set: readonly HeaderPair[], remove: readonly string[]): string {
  const at = path.indexOf('?');
  const parameters = new Map<string, string>();
  if (at >= 0) {
    for (const pair of path.slice(at + 1).split('&')) {
      const equals = pair.indexOf('=');
      if (pair !== '') parameters.set(equals < 0 ? pair : pair.slice(0, equals), equals < 0 ? '' : pair.slice(equals + 1));
    }
  }
  for (const [key, value] of set) if (!/[\s#]/.test(key + value)) parameters.set(key, value);
  for (const key of remove) parameters.delete(key);
  const query = [...parameters].map(([key, value]) => `${key}=${value}`).join('&');
  const base = at < 0 ? path : path.slice(0, at);
  return query === '' ? base : `${base}?${query}`;
}
