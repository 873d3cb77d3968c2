import OpenAI from 'openai';
import { expect, test } from 'vitest';
import { servicesForTest, userTurn } from './support/services.ts';

test('with keys set, only they are let in', async () => {
  const services = await servicesForTest({ API_KEYS: 'first-key, second-key' });
  const good = services.openai({ apiKey: 'second-key' });
  expect((await good.chat.completions.create(userTurn('any', 'Hi'))).choices[0]?.message.content).toBe(
    'You said: Hi',
  );
  const error = await services
    .openai({ apiKey: 'wrong' })
    .chat.completions.create(userTurn('any', 'Hi'))
    .catch((thrown) => thrown);
  expect(error).toBeInstanceOf(OpenAI.AuthenticationError);
  expect(error).toMatchObject({ status: 401, code: 'invalid_api_key', type: 'invalid_request_error' });
  // Claude Code goes on trying for minutes when it is not told that this will last.
  expect(error.headers.get('x-should-retry')).toBe('false');
  expect((await fetch(`${services.gatewayUrl}/v1/models`)).status).toBe(401);
  expect((await fetch(`${services.gatewayUrl}/health`)).status).toBe(200);
  expect(services.log()).not.toMatch(/first-key|second-key/);
});

test('at the pool the admin key opens everything and the borrowing key only borrowing', async () => {
  const services = await servicesForTest({ ADMIN_KEY: 'the-boss', POOL_API_KEY: 'borrow' });
  const ask = async (path: string, key: string | undefined, body?: unknown) => {
    const answer = await fetch(services.poolUrl + path, {
      method: body === undefined ? 'GET' : 'POST',
      headers: key === undefined ? {} : { authorization: `Bearer ${key}` },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const json = (await answer.json()) as { error?: { code: string } };
    return [answer.status, json.error?.code];
  };
  expect(await ask('/api/accounts', 'the-boss')).toEqual([200, undefined]);
  expect(await ask('/api/accounts', 'wrong')).toEqual([401, 'invalid_key']);
  expect(await ask('/api/accounts', undefined)).toEqual([401, 'invalid_key']);
  expect(await ask('/api/accounts', 'borrow')).toEqual([403, 'forbidden']);
  expect(await ask('/api/accounts/allocate', 'borrow', {})).toEqual([200, undefined]);
  expect(await ask('/api/accounts/allocate', undefined, {})).toEqual([401, 'invalid_key']);
  expect(await ask('/health', undefined)).toEqual([200, undefined]);
});
