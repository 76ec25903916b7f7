/** `dynamic_resources` of the bootstrap. */
import type { Bootstrap } from '../../config/types.gen.ts';
import {
  type ApiConfigSource,
  type ConfigSource,
  checkApiConfigSource,
  checkConfigSource,
} from '../../config/xds/config_source.ts';

/** Throws ConfigError. */
export function checkDynamicResources(bootstrap: Bootstrap): void {
  const dynamic = bootstrap.dynamicResources;
  const ads = dynamic?.adsConfig as ApiConfigSource | undefined;
  bootstrap.layeredRuntime?.layers.forEach(({ rtdsLayer }, i) => {
    const path = `layered_runtime.layers[${i}].rtds_layer.rtds_config`;
    if (rtdsLayer !== undefined) checkConfigSource(rtdsLayer.rtdsConfig as ConfigSource | undefined, path, ads !== undefined);
  });
  if (dynamic === undefined) return;
  if (ads !== undefined) checkApiConfigSource(ads, 'dynamic_resources.ads_config');
  for (const field of ['cds_config', 'lds_config'] as const) {
    const source = (field === 'cds_config' ? dynamic.cdsConfig : dynamic.ldsConfig) as ConfigSource | undefined;
    if (source !== undefined) checkConfigSource(source, `dynamic_resources.${field}`, ads !== undefined);
  }
}
