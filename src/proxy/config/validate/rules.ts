/** A field's `validate.rules`, decoded once: the rules of its kind as a plain record in which only what is set is there. */
import type { DescField, Message } from '@bufbuild/protobuf';
import { type ReflectMessage, reflect } from '@bufbuild/protobuf/reflect';
import { fieldRules } from '../api/options.ts';
import type { Api } from '../api/registry.ts';

export interface Rules {
  /** A message must be set. */
  readonly required: boolean;
  /** A message is not looked into. */
  readonly skip: boolean;
  /** `string`, `uint32`, `repeated` ... or '' when only the two above are given. */
  readonly kind: string;
  readonly rule: Rule;
  /** Of lists and map values. */
  readonly items: Rules | undefined;
  readonly keys: Rules | undefined;
}

/** By the proto names' camelCase. */
export type Rule = Readonly<Record<string, unknown>>;

const decoded = new WeakMap<DescField, Rules | null>();

export function rulesOf(api: Api, field: DescField): Rules | null {
  let rules = decoded.get(field);
  if (rules === undefined) {
    const message = fieldRules(api, field);
    rules = message === null ? null : decode(api, message);
    decoded.set(field, rules);
  }
  return rules;
}

function decode(api: Api, message: Message): Rules {
  const all = reflect(api.message('validate.FieldRules'), message);
  let required = false;
  let skip = false;
  let kind = '';
  let rule: Record<string, unknown> = {};
  for (const field of all.fields) {
    if (!all.isSet(field) || field.fieldKind !== 'message') continue;
    const record = setFields(all.get(field));
    if (field.name === 'message') {
      required = record.required === true;
      skip = record.skip === true;
    } else {
      kind = field.name;
      rule = record;
    }
  }
  const nested = (name: string) => (rule[name] === undefined ? undefined : decode(api, (rule[name] as ReflectMessage).message));
  return { required, skip, kind, rule, items: nested('items') ?? nested('values'), keys: nested('keys') };
}

function setFields(message: ReflectMessage): Record<string, unknown> {
  const record: Record<string, unknown> = {};
  for (const field of message.fields) {
    if (!message.isSet(field)) continue;
    record[field.localName] = field.fieldKind === 'list' ? [...message.get(field)] : message.get(field);
  }
  return record;
}
