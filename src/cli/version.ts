/** What `--version` prints. */
import { VERSION } from '../core/version.ts';

/** In the shape of Envoy's: `name  version: <build>/<version>/<state>/<kind>/<tls>`. */
export const VERSION_TEXT = `sluice  version: ${VERSION}/node-${process.version}/${process.arch}`;
