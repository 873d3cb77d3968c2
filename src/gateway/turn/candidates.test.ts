import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { DecodedTurn } from '../../core/protocol.ts';
import type { ExchangingProvider } from '../../core/provider.ts';
import { plainTurn } from '../../core/testing/plain-turn.ts';
import { openaiChatInbound } from '../../protocols/openai-chat/inbound.ts';
import type { Route } from '../models/route.ts';
import { clientTurn, createTurnFixture, type TurnFixture } from '../testing/turn-fixture.ts';
import { Candidates } from './candidates.ts';

let fixture: TurnFixture;
beforeEach(async () => {
  fixture = await createTurnFixture();
});
afterEach(() => fixture.close());

/** A turn as the server makes it of a body that it could relay, and how often that body was decoded. */
function relayableTurn(body: Record<string, unknown>) {
  const text = JSON.stringify(body);
  const opened = openaiChatInbound.readRelayed?.(body, text, {});
  if (!opened) throw new Error('The body cannot be relayed.');
  const translated = vi.fn(() => openaiChatInbound.decode(JSON.parse(text)));
  const decoded: DecodedTurn<unknown> = { ...opened, translated };
  return { turn: clientTurn(decoded.request, { decoded }), translated };
}

/** The candidates of a turn are these, in this order. */
async function candidatesOf(turn: ReturnType<typeof relayableTurn>['turn'], names: readonly string[]) {
  const { routes } = fixture.turns;
  const plan = await routes.plan({ ...plainTurn, messages: [] });
  const [first] = plan.candidates;
  if (!first) throw new Error('There is no candidate.');
  const { provider } = first;
  const order: Route[] = names.map((name) => {
    const outbound = name.startsWith('chat')
      ? { ...provider.outbound, relay: { dialect: 'chat' } }
      : provider.outbound;
    return { ...first, provider: { ...provider, name, outbound } as ExchangingProvider };
  });
  vi.spyOn(routes, 'after').mockResolvedValue([]);
  const candidates = new Candidates(fixture.turns, { ...turn, plan: { ...plan, candidates: order } });
  const seen: string[] = [];
  for (let next = await candidates.next(); next; next = await candidates.next()) {
    const form = next.relayed ? 'as it is' : `${next.request.messages.length} messages`;
    seen.push(`${next.route.provider.name}: ${form}`);
  }
  return { seen, candidates };
}

const body = { model: 'm', messages: [{ role: 'user', content: 'Hello' }] };

it('decodes a body that can be relayed only for upstreams of another dialect, and once', async () => {
  const { turn, translated } = relayableTurn(body);
  expect((await candidatesOf(turn, ['chat-1', 'chat-2'])).seen).toEqual([
    'chat-1: as it is',
    'chat-2: as it is',
  ]);
  expect(translated).not.toHaveBeenCalled();
  const mixed = await candidatesOf(turn, ['other-1', 'chat', 'other-2']);
  expect(mixed.seen).toEqual(['other-1: 1 messages', 'chat: as it is', 'other-2: 1 messages']);
  expect(translated).toHaveBeenCalledOnce();
});

it('passes over those that a body would have to be decoded for, where that fails', async () => {
  const { turn } = relayableTurn({ ...body, messages: 'none' });
  const { seen, candidates } = await candidatesOf(turn, ['other', 'chat']);
  expect(seen).toEqual(['chat: as it is']);
  expect(candidates.refusal).toMatchObject({ code: 'invalid_request', param: 'messages' });
});

it('has several choices only where the upstream gives them all', async () => {
  const { turn } = relayableTurn({ ...body, n: 2 });
  expect((await candidatesOf(turn, ['other', 'chat'])).seen).toEqual(['chat: as it is']);
});
