/** Annotations on the API's fields: validation rules, deprecation, sensitivity. Decoded once per field. */
import { type DescField, type DescMessage, type DescOneof, getOption, hasOption, type Message } from '@bufbuild/protobuf';
import type { Api } from './registry.ts';

const rulesByField = new WeakMap<DescField, Message | null>();

/** `validate.rules` of a field, as the message `validate.FieldRules`; null: none. */
export function fieldRules(api: Api, field: DescField): Message | null {
  let rules = rulesByField.get(field);
  if (rules === undefined) {
    const option = api.extension('validate.rules');
    rules = hasOption(field, option) ? (getOption(field, option) as Message) : null;
    rulesByField.set(field, rules);
  }
  return rules;
}

/** `validate.required` of a oneof. */
export function isRequired(api: Api, oneof: DescOneof): boolean {
  return getOption(oneof, api.extension('validate.required')) === true;
}

/** `validate.disabled` of a message. */
export function isUnchecked(api: Api, type: DescMessage): boolean {
  return getOption(type, api.extension('validate.disabled')) === true;
}

/** `udpa.annotations.sensitive`. */
export function isSensitive(api: Api, field: DescField): boolean {
  return getOption(field, api.extension('udpa.annotations.sensitive')) === true;
}

export function isDeprecated(field: DescField): boolean {
  return field.proto.options?.deprecated === true;
}

/** `envoy.annotations.disallowed_by_default`: deprecated so long that it is refused. */
export function isDisallowed(api: Api, field: DescField): boolean {
  return getOption(field, api.extension('envoy.annotations.disallowed_by_default')) === true;
}
