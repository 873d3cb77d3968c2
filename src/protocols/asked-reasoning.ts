import type { Reasoning } from '../core/turn.ts';

/** `isWanted`: what else than an effort says that the client asks for reasoning. */
export function askedReasoning(effort: string | null | undefined, isWanted: boolean): Reasoning {
  const isAsked = isWanted && effort !== 'none';
  return { ...(effort ? { effort } : {}), ...(isAsked ? { isAsked } : {}) };
}
