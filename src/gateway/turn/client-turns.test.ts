import { expect, it, onTestFinished } from 'vitest';
import { plainTurn } from '../../core/testing/plain-turn.ts';
import { createLogger } from '../../lib/log/logger.ts';
import { lines } from '../testing/fake-upstream.ts';
import { clientTurn, createTurnFixture, noLimits, SeenOutput } from '../testing/turn-fixture.ts';
import { ClientTurns } from './client-turns.ts';

it.each(['requestId', 'model', 'upstream_finish'])('logs no secret in the %s of a turn', async (place) => {
  const secret = '4f9a1c2d3e5b6a79-a-key';
  const fixture = await createTurnFixture({ [secret]: 'auto' });
  onTestFinished(() => fixture.close());
  fixture.pool.add('one');
  const { secrets } = fixture.turns;
  secrets.add(secret);
  const shown = (here: string) => (here === place ? secret : 'auto');
  fixture.upstream.answer = (call) => lines(call, 'say hi', `end stop ${shown('upstream_finish')}`);
  const written: string[] = [];
  const logger = createLogger('INFO', { write: (line) => written.push(line) }, secrets);
  const turns = new ClientTurns({ ...fixture.turns, logger }, { turnEnded() {} }, { check() {} }, noLimits);
  const messages = [{ role: 'user', parts: [{ type: 'text', text: 'hi' }] }] as const;
  const request = { ...plainTurn, model: shown('model'), messages };
  await turns.run(clientTurn(request, { requestId: shown('requestId') }), new SeenOutput());
  const log = written.join('');
  expect(JSON.parse(log)).toMatchObject({ msg: 'turn', outcome: 'success' });
  expect(log).toContain('[secret]');
  expect(log).not.toContain(secret);
});
