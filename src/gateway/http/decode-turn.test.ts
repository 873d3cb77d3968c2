import { expect, it } from 'vitest';
import { openaiChatInbound } from '../../protocols/openai-chat/inbound.ts';
import type { RoutePlan } from '../models/route.ts';
import type { Routes } from '../models/routing.ts';
import { decodeTurn } from './decode-turn.ts';

const provider = { name: 'warp', outbound: {} };

/** The plan that comes with the decoded request of an upstream that speaks another dialect. */
async function planOf(isBlind: boolean, more: object) {
  const plan = { candidates: [{ provider, model: 'm', isBlind }] } as unknown as RoutePlan;
  const routes = { planNow: () => plan } as unknown as Routes;
  const body = { model: 'm', messages: [{ role: 'user', content: 'Hello' }], ...more };
  const asked = {
    body,
    heldBody: { takeText: () => JSON.stringify(body) },
    client: { id: 'c' },
    headers: {},
  };
  const { decoded, plan: kept } = await decodeTurn(routes, openaiChatInbound, asked);
  expect(decoded.request.messages).toHaveLength(1);
  expect(kept === undefined || kept === plan).toBe(true);
  return kept;
}

it('keeps the plan for a request that is decoded, but where its effort or its images may lead elsewhere', async () => {
  expect(await planOf(false, {})).toBeDefined();
  expect(await planOf(false, { reasoning_effort: 'high' })).toBeUndefined();
  expect(await planOf(true, {})).toBeUndefined();
});
