import type { DescField, DescMessage } from '@bufbuild/protobuf';
import { create } from '@bufbuild/protobuf';
import { type ReflectMessage, reflect } from '@bufbuild/protobuf/reflect';
import { type Message, MessageSchema } from './gen/warp_pb.js';

/**
 * `unknown`: the path leads nowhere. `opaque`: it leads into what is kept as bytes here, and cannot be followed.
 * `not-text`: an append names something that is no text.
 */
export type MaskResult = 'applied' | 'unknown' | 'opaque' | 'not-text';

/**
 * Copies (`update`) or concatenates (`append`) what `path` names from `patch` to `target`. Paths are relative to the
 * message, dot-separated, with the wire's own field names. Nothing changes unless it was `applied`.
 */
export function applyMask(
  target: Message,
  patch: Message,
  path: string,
  mode: 'update' | 'append',
): MaskResult {
  const segments = path.split('.');
  const leafName = segments.pop();
  const parents: (DescField & { fieldKind: 'message' })[] = [];
  let from: ReflectMessage = reflect(MessageSchema, patch);
  for (const name of segments) {
    const field = fieldNamed(from.desc, name);
    if (!field || !from.isSet(field)) return 'unknown';
    if (field.fieldKind !== 'message') return 'opaque';
    from = from.get(field) as ReflectMessage;
    parents.push(field);
  }

  const leaf = leafName === undefined ? undefined : fieldNamed(from.desc, leafName);
  if (!leaf) return 'unknown';
  if (mode === 'append' && typeof from.get(leaf) !== 'string') return 'not-text';
  let into: ReflectMessage = reflect(MessageSchema, target);
  for (const field of parents) {
    if (!into.isSet(field)) into.set(field, reflect(field.message, create(field.message)));
    into = into.get(field) as ReflectMessage;
  }
  if (mode === 'append') {
    into.set(leaf, `${into.isSet(leaf) ? into.get(leaf) : ''}${from.get(leaf)}`);
  } else if (!from.isSet(leaf)) into.clear(leaf);
  else if (leaf.fieldKind === 'list') {
    into.clear(leaf);
    const list = into.get(leaf);
    for (const item of from.get(leaf)) list.add(item);
  } else into.set(leaf, from.get(leaf));
  return 'applied';
}

function fieldNamed(desc: DescMessage, name: string): DescField | undefined {
  return desc.fields.find((field) => field.name === name);
}
