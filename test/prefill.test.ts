import Anthropic from '@anthropic-ai/sdk';
import { expect, it } from 'vitest';
import { withUpstreams } from './support/upstreams.ts';

const yaml = `models:
  "new/*": { prefill: false }
routes:
  - model: both
    candidates: [{ provider: new, model: claude-text }, { provider: old, model: claude-echo }]
  - model: none
    candidates: [{ provider: new, model: claude-text }, { provider: new, model: claude-echo }]
`;
const setup = () => withUpstreams({ new: { protocol: 'messages' }, old: { protocol: 'messages' } }, yaml);
type Services = Awaited<ReturnType<typeof setup>>;

const messages = [
  { role: 'user' as const, content: 'Say it.' },
  { role: 'assistant' as const, content: 'It begins' },
];

const askChat = (services: Services, model: string) =>
  services.openai().chat.completions.create({ model, messages });
const askMessages = ({ gatewayUrl }: Services, model: string) =>
  new Anthropic({ baseURL: gatewayUrl, apiKey: 'any', maxRetries: 0 }).messages.create({
    model,
    messages,
    max_tokens: 100,
  });

it.each([
  ['translated', askChat],
  ['relayed', askMessages],
])('the beginning of an answer goes to a model that goes on with it: %s', async (_case, ask) => {
  const services = await setup();
  await ask(services, 'both');
  expect(services.vendors.new.turns).toHaveLength(0);
  expect(services.vendors.old.turns).toHaveLength(1);
  await expect(ask(services, 'none')).rejects.toMatchObject({
    status: 400,
    message: expect.stringContaining(
      'messages: ends with the beginning of an answer, which claude-text does not',
    ),
  });
});

it('the only model is asked where the body is passed on as it is, and named where it is not', async () => {
  const services = await setup();
  await expect(askChat(services, 'new/claude-text')).rejects.toMatchObject({
    status: 400,
    param: 'messages',
  });
  expect(services.vendors.new.turns).toHaveLength(0);
  await askMessages(services, 'new/claude-text');
  expect(services.vendors.new.turns).toHaveLength(1);
  const empty = { role: 'assistant' as const, content: '' };
  await services.openai().chat.completions.create({
    model: 'new/claude-text',
    messages: [{ role: 'user', content: 'Hi' }, empty],
  });
});
