import type { DescField, DescMessage } from '@bufbuild/protobuf';
import { create } from '@bufbuild/protobuf';
import { type ReflectMessage, reflect } from '@bufbuild/protobuf/reflect';
import { type Message, MessageSchema } from './gen/warp_pb.js';

/**
 * Copies (`update`) or concatenates (`append`) what `path` names from `patch` to `target`. Paths are relative to the
 * message, dot-separated, with the wire's own field names. False for a path that leads nowhere; nothing changes then.
 * Throws when an append names something that is no text.
 */
export function applyMask(target: Message, patch: Message, path: string, mode: 'update' | 'append'): boolean {
  const segments = path.split('.');
  const leafName = segments.pop();
  let into: ReflectMessage = reflect(MessageSchema, target);
  let from: ReflectMessage = reflect(MessageSchema, patch);
  for (const name of segments) {
    const field = fieldNamed(from.desc, name);
    if (field?.fieldKind !== 'message' || !from.isSet(field)) return false;
    if (!into.isSet(field)) into.set(field, reflect(field.message, create(field.message)));
    from = from.get(field) as ReflectMessage;
    into = into.get(field) as ReflectMessage;
  }

  const leaf = leafName === undefined ? undefined : fieldNamed(from.desc, leafName);
  if (!leaf) return false;
  if (mode === 'append') {
    const delta = from.get(leaf);
    const before = into.isSet(leaf) ? into.get(leaf) : '';
    if (typeof delta !== 'string' || typeof before !== 'string') {
      throw new TypeError(`the upstream appends to ${path}, which is no text`);
    }
    into.set(leaf, before + delta);
  } else if (!from.isSet(leaf)) into.clear(leaf);
  else if (leaf.fieldKind === 'list') {
    into.clear(leaf);
    const list = into.get(leaf);
    for (const item of from.get(leaf)) list.add(item);
  } else into.set(leaf, from.get(leaf));
  return true;
}

function fieldNamed(desc: DescMessage, name: string): DescField | undefined {
  return desc.fields.find((field) => field.name === name);
}
