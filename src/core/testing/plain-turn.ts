import type { TurnRequest } from '../turn.ts';

/** A turn that asks for nothing but an answer; to be spread, with messages beside it. */
export const plainTurn = {
  model: 'auto',
  tools: [],
  toolChoice: { type: 'auto' },
  parallelToolCalls: true,
  sampling: {},
  limits: {},
  responseFormat: { type: 'text' },
  reasoning: {},
} as const satisfies Omit<TurnRequest, 'messages'>;
