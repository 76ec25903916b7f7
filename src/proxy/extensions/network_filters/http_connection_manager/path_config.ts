/** Path normalisation options, bound into one function per connection manager; null when paths stay as they are. */
import type { HttpConnectionManager } from '../../../config/types.gen.ts';
import { type ConnectionManagerConfig, NormalizePathAction } from '../../../http/conn_manager/conn_manager_config.ts';
import type { HeaderMap } from '../../../http/header_map.ts';
import { H } from '../../../http/header_names.ts';
import { isNormalPath, normalizePath, type PathNormalization } from '../../../http/path_utility.ts';
import type { FactoryContext } from '../../../server/factory_context.ts';

const REJECT_FRAGMENT = 'envoy.reloadable_features.http_reject_path_with_fragment';

export function compilePathNormalization(
  config: HttpConnectionManager,
  context: FactoryContext,
): ConnectionManagerConfig['normalizePath'] {
  const options: PathNormalization = {
    normalizePath: config.normalizePath ?? context.runtime.snapshot.getBoolean('http_connection_manager.normalize_path', false),
    mergeSlashes: config.mergeSlashes ?? false,
    escapedSlashes: config.pathWithEscapedSlashesAction ?? 'IMPLEMENTATION_SPECIFIC_DEFAULT',
    rejectFragment: context.runtime.snapshot.getBoolean(REJECT_FRAGMENT, true),
  };
  const path = H[':path'];
  return (headers: HeaderMap): NormalizePathAction => {
    const start = headers.valueByteStart(path);
    if (start >= 0 && isNormalPath(headers.slab.u8, start, headers.valueByteLength(path), options))
      return NormalizePathAction.Continue;
    const before = headers.getId(path) as string;
    const outcome = normalizePath(before, options);
    if (outcome.kind === 'reject') return NormalizePathAction.Reject;
    if (outcome.path !== before) headers.setId(path, outcome.path);
    return outcome.kind === 'redirect' ? NormalizePathAction.Redirect : NormalizePathAction.Continue;
  };
}
