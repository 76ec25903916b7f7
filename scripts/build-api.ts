/** Writes the Envoy API's descriptor set to build/ (npm runs it after an install). */

import { buildApi } from '../src/proxy/config/api/build.ts';
import { apiFile } from '../src/proxy/config/api/registry.ts';

buildApi(apiFile);
