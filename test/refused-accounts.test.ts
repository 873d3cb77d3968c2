// One of several accounts is refused: another one answers, and the refused one is not asked again in vain.
import { expect, test } from 'vitest';
import { servicesForTest, userTurn } from './support/services.ts';

async function withTwo(firstKey: string) {
  const services = await servicesForTest({}, undefined, { tls: 'only', requireHttp2: true });
  await services.addAccount(firstKey, { tier: 1 });
  await services.addAccount('wk-second', { tier: 2 });
  return services;
}

test.each([
  '400-model',
  '400-planning-model',
  '400-no-model',
  '429-quota',
  '429-requests',
  '429-hours',
  'no-figures',
])('an account that meets "%s" is replaced by another, once', async (scenario) => {
  const services = await withTwo(`wk-first.${scenario}`);
  for (let turn = 0; turn < 3; turn += 1) {
    const answer = await services.openai().chat.completions.create(userTurn('sandbox', `Hello ${turn}`));
    expect(answer.choices[0]?.message.content).toBe(`You said: Hello ${turn}`);
  }
  const asked = services.upstream.turns.filter(({ bearer }) => bearer.startsWith('wk-first'));
  expect(asked).toHaveLength(1);
});

test.each(['internal-pdf-pages', 'internal-schema', 'undeclared-tool', 'context'])(
  'a turn that meets "%s" is no account\'s fault, and one turn is spent on it',
  async (scenario) => {
    const services = await withTwo('wk-first');
    await (await services.chat(userTurn(`sandbox-${scenario}`, 'Hello'))).text();
    expect(services.upstream.turns).toHaveLength(1);
  },
);
