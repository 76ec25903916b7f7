/** What the configuration loader delivers is what route tables read: checked by the compiler. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RouteConfiguration } from '../../../../src/proxy/config/types.gen.ts';
import { compileRouteTable } from '../../../../src/proxy/http/route/route_config.ts';
import { deps } from './support.ts';

test('a generated RouteConfiguration is accepted as it is, with every implicit field present', () => {
  const config: RouteConfiguration = {
    name: 'r',
    virtualHosts: [],
    requestMirrorPolicies: [],
    internalOnlyHeaders: [],
    responseHeadersToAdd: [],
    responseHeadersToRemove: [],
    requestHeadersToAdd: [],
    requestHeadersToRemove: [],
    mostSpecificHeaderMutationsWins: false,
    ignorePortInHostMatching: false,
    ignorePathParametersInPathMatching: false,
    typedPerFilterConfig: {},
  };
  assert.equal(compileRouteTable(config, deps()).name, 'r');
});
