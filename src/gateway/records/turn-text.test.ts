import { expect, it } from 'vitest';
import { turnText } from './turn-text.ts';

const turn = {
  request_id: 'r1',
  dialect: 'chat',
  model: 'fast',
  upstream_model: 'auto',
  provider: 'warp',
  account_id: 'acc_1',
  stream: true,
  outcome: 'success',
  status: 200,
  attempts: 1,
  conversation: 'new',
  duration_ms: 163,
  first_content_ms: 160,
  usage: { inputTokens: 102, outputTokens: 4 },
};

it('tells a turn in one sentence, with whose account and which request it was', () => {
  expect(turnText(turn)).toEqual({
    text: 'chat stream 200 fast -> warp/auto, 163 ms (first word 160), 102 + 4 tokens',
    rest: { account: 'acc_1', request: 'r1' },
  });
});

it('says what is unusual about it', () => {
  const failed = { ...turn, outcome: 'no_account_available', status: 503, attempts: 2, usage: undefined };
  expect(turnText({ ...failed, err: { message: 'no account is free' } })).toEqual({
    text: 'chat stream 503 fast -> warp/auto, 163 ms (first word 160), no_account_available: no account is free',
    rest: { attempts: 2, account: 'acc_1', request: 'r1' },
  });
  const { upstream_model: _none, first_content_ms: _never, ...refused } = failed;
  expect(turnText({ ...refused, stream: false, outcome: 'cancelled', status: 499 }).text).toBe(
    'chat 499 fast, 163 ms, cancelled',
  );
});
