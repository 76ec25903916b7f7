/**
 * Incremental xDS: requests have the names that come and go, responses the resources that are new and the names of those that are gone. After a
 * connection was lost the control plane is told which versions are here. A response is answered by its nonce, with the reason when it is refused.
 */
import { GrpcSource, type TypeState } from './grpc_source.ts';
import { typeUrl } from './resource_types.ts';
import type { ParsedResponse } from './response.ts';
import type { ResourceUpdate } from './subscription.ts';
import { encodeDeltaDiscoveryRequest } from './wire.ts';

export class DeltaSource extends GrpcSource {
  protected override requestFor(state: TypeState, node: Uint8Array | null): Uint8Array | null {
    const first = !state.asked;
    const { subscribe, unsubscribe } = this.changesOf(state);
    if (!first && subscribe.length === 0 && unsubscribe.length === 0) return null;
    const versions = first ? [...state.known].map(([name, { version }]) => [name, version] as const) : [];
    return encodeDeltaDiscoveryRequest({
      node,
      typeUrl: typeUrl(state.kind),
      subscribe,
      unsubscribe,
      initialVersions: new Map(versions),
      responseNonce: '',
      error: null,
    });
  }

  protected override answerFor(
    state: TypeState,
    response: ParsedResponse,
    error: string | null,
    node: Uint8Array | null,
  ): Uint8Array {
    return encodeDeltaDiscoveryRequest({
      node,
      typeUrl: typeUrl(state.kind),
      ...this.changesOf(state),
      initialVersions: new Map(),
      responseNonce: response.nonce,
      error,
    });
  }

  protected override updateOf(state: TypeState, response: ParsedResponse): ResourceUpdate {
    const resources = response.resources.flatMap((resource) => {
      if (resource.plain !== null || resource.error !== null) return [resource];
      const known = state.known.get(resource.name);
      return known === undefined ? [] : [{ ...known, ttlMs: resource.ttlMs }];
    });
    return { resources, removed: response.removed, full: false, version: response.version };
  }

  private changesOf(state: TypeState): { subscribe: string[]; unsubscribe: string[] } {
    const names = new Set(this.namesOf(state));
    const subscribe = [...names].filter((name) => !state.told.has(name));
    const unsubscribe = [...state.told].filter((name) => !names.has(name));
    state.told.clear();
    for (const name of names) state.told.add(name);
    return { subscribe, unsubscribe };
  }
}
