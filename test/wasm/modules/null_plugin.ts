/** A plugin for the null sandbox of the proxy: adds a header. */
import { MapType } from '../../../src/wasm/abi/enums.ts';
import { type NullPluginFactory, NullRoot, NullStream } from '../../../src/wasm/vm/null/null_plugin.ts';

class Stream extends NullStream {
  override onResponseHeaders(): number {
    this.host.addHeader(MapType.HttpResponseHeaders, 'x-null', this.host.property('request', 'path') ?? '');
    return 0;
  }
}

class Root extends NullRoot {
  override createStream(id: number): Stream {
    return new Stream(this, id);
  }
}

const factory: NullPluginFactory = (host, id) => new Root(host, id);
export default factory;
