import fc from 'fast-check';
import { AppError } from '../../src/core/errors.ts';
import type { FinishReason, TurnEvent, Usage } from '../../src/core/turn.ts';

/** Text that is awkward on a wire: quotes, line ends, marks of other formats, pairs of code units, controls. */
export const awkwardText = fc.oneof(
  fc.string({ unit: 'grapheme', maxLength: 12 }),
  fc.string({ unit: 'binary', maxLength: 6 }),
  fc.constantFrom(
    '"',
    '\n\n',
    '\r\n',
    'data: [DONE]\n\n',
    '\u2028',
    '👩‍👩‍👧',
    '\\u0000',
    '\0',
    'event: error\n',
    '</s>',
    ' ',
  ),
);

type Move =
  | { readonly do: 'text'; readonly text: string }
  | { readonly do: 'think'; readonly text: string }
  | { readonly do: 'call'; readonly name: string; readonly input: Record<string, unknown> }
  | { readonly do: 'piece' | 'end'; readonly pick: number; readonly size: number }
  | { readonly do: 'cite'; readonly url: string }
  | { readonly do: 'usage'; readonly usage: Usage };

const anyMove: fc.Arbitrary<Move> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant('text' as const), text: awkwardText }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('think' as const), text: awkwardText }) },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('call' as const),
      name: fc.constantFrom('get_weather', 'files__read', 'x'),
      input: fc.dictionary(
        awkwardText.filter((key) => key !== '__proto__'),
        fc.oneof(awkwardText, fc.integer(), fc.constant(null)),
        { maxKeys: 3 },
      ),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constantFrom('piece' as const, 'end' as const),
      pick: fc.nat(),
      size: fc.nat({ max: 12 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('cite' as const), url: fc.webUrl() }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('usage' as const),
      usage: fc.record({ inputTokens: fc.nat(), outputTokens: fc.nat() }),
    }),
  },
);

export interface NeutralAnswer {
  readonly events: readonly TurnEvent[];
  readonly text: string;
  readonly reasoning: string;
  readonly calls: readonly { readonly id: string; readonly name: string; readonly arguments: string }[];
  readonly end: FinishReason | 'error';
  /** Addresses of what is cited. */
  readonly sources: readonly string[];
}

/** Any answer an upstream may give in neutral events: calls may overlap each other and text may come between their pieces. */
export const anyNeutralAnswer: fc.Arbitrary<NeutralAnswer> = fc
  .tuple(
    fc.array(anyMove, { maxLength: 25 }),
    fc.constantFrom<'whole' | 'length' | 'error'>('whole', 'length', 'error'),
  )
  .map(([moves, how]) => playMoves(moves, how));

function playMoves(moves: readonly Move[], how: 'whole' | 'length' | 'error'): NeutralAnswer {
  const events: TurnEvent[] = [{ type: 'start' }];
  const calls: { id: string; name: string; arguments: string; rest: string; isOpen: boolean }[] = [];
  let text = '';
  let reasoning = '';
  const sources: string[] = [];

  function piece(call: (typeof calls)[number], size: number): void {
    const part = call.rest.slice(0, size);
    call.rest = call.rest.slice(size);
    call.arguments += part;
    events.push({ type: 'tool-call-delta', index: calls.indexOf(call), arguments: part });
  }
  function endCall(call: (typeof calls)[number]): void {
    if (call.rest !== '') piece(call, call.rest.length);
    call.isOpen = false;
    events.push({ type: 'tool-call-end', index: calls.indexOf(call) });
  }

  for (const move of moves) {
    if (move.do === 'text' || move.do === 'think') {
      if (move.do === 'text') text += move.text;
      else reasoning += move.text;
      events.push({ type: move.do === 'text' ? 'text-delta' : 'reasoning-delta', text: move.text });
    } else if (move.do === 'cite') {
      const { url } = move;
      sources.push(url);
      events.push({ type: 'citation', citation: { url } });
    } else if (move.do === 'usage') {
      events.push({ type: 'usage', usage: move.usage });
    } else if (move.do === 'call') {
      const { name, input } = move;
      const id = `call-${calls.length}`;
      events.push({ type: 'tool-call-start', index: calls.length, id, name });
      calls.push({ id, name, arguments: '', rest: JSON.stringify(input), isOpen: true });
    } else {
      const open = calls.filter((call) => call.isOpen);
      const call = open[move.pick % open.length];
      if (call === undefined) continue;
      if (move.do === 'piece') piece(call, move.size);
      else endCall(call);
    }
  }
  if (how === 'whole') for (const call of calls) if (call.isOpen) endCall(call);
  const end = how === 'whole' ? (calls.length > 0 ? 'tool-calls' : 'stop') : how;
  if (end === 'error') {
    events.push({ type: 'error', error: new AppError('upstream_protocol', 'It "broke"; try again.') });
  } else {
    events.push({ type: 'usage', usage: { inputTokens: 7, outputTokens: 3, cachedInputTokens: 2 } });
    events.push({ type: 'finish', reason: end });
  }
  return {
    events,
    text,
    reasoning,
    calls: calls.map(({ id, name, arguments: given }) => ({ id, name, arguments: given })),
    end,
    sources,
  };
}

/** The events cut into batches, as reads of a socket would cut them. */
export function batched(events: readonly TurnEvent[], sizes: readonly number[]): TurnEvent[][] {
  const batches: TurnEvent[][] = [];
  let at = 0;
  for (let turn = 0; at < events.length; turn += 1) {
    const size = sizes.length === 0 ? events.length : (sizes[turn % sizes.length] ?? 1);
    batches.push(events.slice(at, at + size));
    at += size;
  }
  return batches;
}
