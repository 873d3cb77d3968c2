import { handlingOf } from '../capabilities.ts';
import type { DecodedTurn } from '../protocol.ts';

/** A decoded turn as an upstream without any ability takes it. Throws the AppError of what it refuses. */
export function atBareUpstream<Options>(decoded: DecodedTurn<Options>): DecodedTurn<Options> {
  const { refusal } = handlingOf(decoded.request, new Set());
  if (refusal) throw refusal;
  const documents = decoded.request.messages.flatMap(({ role, parts }) => {
    if (role === 'user') return parts.filter((part) => part.type === 'document');
    return role === 'tool' ? parts.flatMap((part) => part.documents ?? []) : [];
  });
  const replaced = documents.map(({ ignoredAs }) => ignoredAs);
  return { ...decoded, ignored: [...new Set([...decoded.ignored, ...replaced])] };
}
