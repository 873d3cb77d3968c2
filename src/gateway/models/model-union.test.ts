import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { plainTurn } from '../../core/testing/plain-turn.ts';
import type { Message } from '../../core/turn.ts';
import { lines, refuse } from '../testing/fake-upstream.ts';
import { settled } from '../testing/manual-clock.ts';
import { clientTurn, createTurnFixture, SeenOutput, type TurnFixture } from '../testing/turn-fixture.ts';
import { TurnRun } from '../turn/run-turn.ts';
import { RefusedPairs, uniteModels } from './model-lists.ts';
import type { Route } from './route.ts';

let fixture: TurnFixture;
beforeEach(async () => {
  fixture = await createTurnFixture();
});
afterEach(() => fixture.close());

function userMessage(text: string): Message {
  return { role: 'user', parts: [{ type: 'text', text }] };
}

async function turn(model: string) {
  const request = { ...plainTurn, model, messages: [userMessage('hi')] };
  const { attempt, ...result } = await new TurnRun(
    fixture.turns,
    clientTurn(request),
    new SeenOutput(),
  ).run();
  await settled();
  return { ...result, accountId: attempt?.lease.account.id };
}

/** The accounts to which the upstream refuses the model `big`. */
function refuseTo(...ids: string[]): void {
  fixture.upstream.answer = (call) =>
    call.body.model === 'big' && ids.some((id) => call.bearer.endsWith(id))
      ? refuse(call, 404)
      : lines(call, 'say hello', 'end');
}
const bearers = () => fixture.upstream.calls.map(({ bearer }) => bearer.replace('bearer-of-', ''));
const reports = () => fixture.pool.reports.map(({ account_id: id, outcome }) => `${id} ${outcome}`);

describe('a model that the provider refuses to an account', () => {
  it('is asked of another account, immediately and for ten minutes, and the first account is not blamed', async () => {
    fixture.pool.add('one');
    fixture.pool.add('two');
    refuseTo('one');
    expect(await turn('big')).toMatchObject({ error: undefined, accountId: 'two' });
    expect(await turn('big')).toMatchObject({ error: undefined, accountId: 'two', attempts: 1 });
    expect(bearers().filter((id) => id === 'one').length).toBeLessThanOrEqual(1);
    expect(await turn('auto')).toMatchObject({ error: undefined, attempts: 1 });
    await fixture.clock.advance(5_000);
    expect(reports().filter((report) => !report.endsWith('success'))).toEqual([]);
    const toBig = async () => {
      const { candidates } = await fixture.turns.routes.plan({ model: 'big', messages: [], reasoning: {} });
      return candidates[0] as Route;
    };
    const { provider } = await toBig();
    fixture.turns.models.refused(provider, 'big', 'one');
    expect((await toBig()).barred).toEqual(new Set(['one']));
    await fixture.clock.advance(10 * 60_000);
    expect((await toBig()).barred).toBeUndefined();
  });

  it('is an error about the model when every account is refused it, the next time without asking', async () => {
    fixture.pool.add('one');
    fixture.pool.add('two');
    refuseTo('one', 'two');
    expect(await turn('big')).toMatchObject({ error: { code: 'model_not_found' }, attempts: 2 });
    const asked = fixture.upstream.calls.length;
    const again = await turn('big');
    expect(again).toMatchObject({ error: { code: 'model_not_found', param: 'model' }, attempts: 0 });
    expect(fixture.upstream.calls.length).toBe(asked);
    await fixture.clock.advance(5_000);
    expect(reports()).toEqual([]);
    expect(await turn('auto')).toMatchObject({ error: undefined });
  });
});

describe('the list of models', () => {
  const lists = new Map([
    ['one', [{ id: 'auto' }, { id: 'big' }]],
    ['two', [{ id: 'auto' }, { id: 'big' }]],
  ]);
  const refused = (...accounts: string[]) => new Map([['big', new Set(accounts)]]);

  it('has a model as long as it is not refused to all that list it', () => {
    const union = uniteModels(lists, refused('one'));
    expect(union.models.map(({ id }) => id)).toEqual(['auto', 'big']);
    expect(union.barred).toEqual(refused('one'));
  });

  it('says why a model is left out that is refused to all', () => {
    const union = uniteModels(lists, refused('one', 'two'));
    expect(union.models.map(({ id }) => id)).toEqual(['auto']);
    expect(union.withheld).toMatchObject([{ id: 'big', withheld: { reason: /refused/ } }]);
  });

  it('bars accounts too whose list is not known', () => {
    expect(uniteModels(lists, refused('one', 'three')).barred).toEqual(refused('one', 'three'));
    expect(uniteModels(new Map(), refused('three')).barred).toEqual(refused('three'));
  });
});

it('remembers a bounded number of pairs, each for its time', () => {
  const pairs = new RefusedPairs();
  for (let index = 0; index < 3_000; index++) pairs.add('big', `account-${index}`, index);
  expect(pairs.live(3_000).get('big')?.size).toBe(1_000);
  expect(pairs.nextEnd).toBe(2_000 + 10 * 60_000);
  expect(pairs.live(2_499 + 10 * 60_000).get('big')?.size).toBe(500);
  expect(pairs.live(4_000 + 10 * 60_000).size).toBe(0);
});
