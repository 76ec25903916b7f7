import type { Message } from '@bufbuild/protobuf';
import type { Api } from '../api/registry.ts';
import type { Diagnostics } from '../errors.ts';
import type { Place } from '../source.ts';

export function validateMessage(_api: Api, _message: Message, _place: Place, _diagnostics: Diagnostics): void {}
