/** The version, read from package.json. */
import { readFileSync } from 'node:fs';

const manifest = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string };

export const VERSION = manifest.version;
/** In the shape of Envoy's: `name  version: <build>/<version>/<state>/<kind>/<tls>`. */
export const VERSION_TEXT = `sluice  version: ${VERSION}/node-${process.version}/${process.arch}`;
