/** Sets and removes headers of requests and responses, as the configuration says. */
import { type Headers, HttpFilter, type Infer, schema } from 'sluice/filter';

const edits = schema.object({
  set: schema.map(schema.string()).default({}),
  remove: schema.list(schema.string()).default([]),
});
const config = schema.object({
  request: edits.default({ set: {}, remove: [] }),
  response: edits.default({ set: {}, remove: [] }),
});

type Edits = Infer<typeof edits>;

export default class HeaderEdit extends HttpFilter<Infer<typeof config>> {
  static readonly schema = config;

  override onRequestHeaders(headers: Headers): void {
    apply(this.config.request, headers);
  }

  override onResponseHeaders(headers: Headers): void {
    apply(this.config.response, headers);
  }
}

function apply({ set, remove }: Edits, headers: Headers): void {
  for (const name of remove) headers.remove(name);
  for (const name in set) headers.set(name, set[name]);
}
