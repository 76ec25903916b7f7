/** Positions of two messages that are merged (proto MergeFrom): lists append, maps replace by key, messages merge, the rest is replaced. */
import type { ReflectMessage } from '@bufbuild/protobuf/reflect';
import type { Positions } from './source.ts';

/** To be called before the messages are merged: lengths of the target's lists tell where the source's items go. */
export function mergePositions(
  target: ReflectMessage,
  source: ReflectMessage,
  targetPositions: Positions | undefined,
  sourcePositions: Positions | undefined,
): Positions | undefined {
  if (targetPositions === undefined || sourcePositions === undefined) return targetPositions ?? sourcePositions;
  for (const field of source.fields) {
    const theirs = sourcePositions.children.get(field.name);
    if (!source.isSet(field) || theirs === undefined) continue;
    const ours = targetPositions.children.get(field.name);
    if (!target.isSet(field) || ours === undefined || field.fieldKind === 'scalar' || field.fieldKind === 'enum') {
      targetPositions.children.set(field.name, theirs);
    } else if (field.fieldKind === 'list') {
      const offset = target.get(field).size;
      for (const [index, position] of theirs.children) ours.children.set(offset + Number(index), position);
    } else if (field.fieldKind === 'map') {
      for (const [key, position] of theirs.children) ours.children.set(key, position);
    } else {
      mergePositions(target.get(field), source.get(field), ours, theirs);
    }
  }
  return targetPositions;
}
