/**
 * State of the world: each response has everything that was asked for (of clusters and listeners: everything there is), each request the whole list of
 * names. A response is accepted by a request with its version and nonce, and refused by one with the version before, its nonce and the reason.
 */
import { GrpcSource, type TypeState } from './grpc_source.ts';
import { typeUrl } from './resource_types.ts';
import type { ParsedResponse } from './response.ts';
import type { ResourceUpdate } from './subscription.ts';
import { encodeDiscoveryRequest } from './wire.ts';

export class SotwSource extends GrpcSource {
  protected override requestFor(state: TypeState, node: Uint8Array | null): Uint8Array {
    return this.request(state, state.version, node, null);
  }

  protected override answerFor(
    state: TypeState,
    _response: ParsedResponse,
    error: string | null,
    node: Uint8Array | null,
  ): Uint8Array {
    return this.request(state, state.version, node, error);
  }

  protected override updateOf(state: TypeState, response: ParsedResponse): ResourceUpdate {
    // A sign of life of what was sent before.
    const resources = response.resources.map((resource) => {
      const known = resource.plain === null && resource.error === null ? state.known.get(resource.name) : undefined;
      return known === undefined ? resource : { ...known, ttlMs: resource.ttlMs };
    });
    const full = state.kind === 'cluster' || state.kind === 'listener';
    return { resources, removed: [], full, version: response.version };
  }

  private request(state: TypeState, versionInfo: string, node: Uint8Array | null, error: string | null): Uint8Array {
    return encodeDiscoveryRequest({
      versionInfo,
      node,
      resourceNames: this.namesOf(state),
      typeUrl: typeUrl(state.kind),
      responseNonce: state.nonce,
      error,
    });
  }
}
