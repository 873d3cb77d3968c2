import { describe, expect, it } from 'vitest';
import { adviseOnPath } from './path-advice.ts';

const places = { gateway: 'http://box:8018', pool: 'http://box:8019' };
const openaiBase = 'et the base URL of the client to http://box:8018/v1.';
const anthropicBase = 'et the base URL of the client to http://box:8018.';

describe.each(['gateway', 'pool'] as const)('at the %s', (here) => {
  it.each([
    '/chat/completions',
    '/v1/v1/chat/completions',
    '/openai/v1/chat/completions',
    '/api/v1/chat/completions',
    '/V1/Chat/Completions',
    '/v1beta/openai/chat/completions',
    '/openai/deployments/gpt/chat/completions',
    '/v1/chat/completions/chat/completions',
    '/embeddings',
    '/audio/transcriptions',
    '/openai/images/generations',
    '/responses',
    '/v1/v1/responses/resp_1',
    '/models',
    '/openai/models',
    '/chat/completions/',
  ])("%s gets OpenAI's base URL", (path) => {
    const { advice, dialect } = adviseOnPath(path, here, places);
    expect([advice, dialect]).toEqual([expect.stringContaining(openaiBase), 'openai']);
  });

  it.each(['/messages', '/messages/count_tokens', '/anthropic/messages'])(
    '%s is of a client that does not add the version',
    (path) => {
      const { advice, dialect } = adviseOnPath(path, here, places);
      expect([advice, dialect]).toEqual([expect.stringContaining(openaiBase), 'anthropic']);
    },
  );

  it.each([
    '/v1/v1/messages',
    '/anthropic/v1/messages',
    '/api/anthropic/v1/messages/count_tokens',
    '/anthropic/v1/models',
  ])("%s gets Anthropic's base URL", (path) => {
    const { advice, dialect } = adviseOnPath(path, here, places);
    expect([advice, dialect]).toEqual([expect.stringContaining(anthropicBase), 'anthropic']);
  });

  it.each([
    ['/api/tags', /Ollama's own API is not served/],
    ['/api/chat', /Ollama's own API is not served/],
  ])('%s gets a message that it is not served', (path, message) => {
    const { advice } = adviseOnPath(path, here, places);
    expect(advice).toMatch(message);
    expect(advice).toContain(openaiBase);
  });

  it.each(['/gemini/v1beta/models/gemini-pro:generateContent', '/gemini/v1alpha/models'])(
    "%s gets Gemini's base URL",
    (path) => {
      const { advice, dialect } = adviseOnPath(path, here, places);
      expect([advice, dialect]).toEqual([
        expect.stringContaining(
          'et the base URL of the client to http://box:8018; it adds the version itself.',
        ),
        'gemini',
      ]);
    },
  );

  it('a method of a model without a version is of a client that does not add it', () => {
    const { advice, dialect } = adviseOnPath('/models/gemini-pro:streamGenerateContent', here, places);
    expect([advice, dialect]).toEqual([
      expect.stringMatching(/et the base URL of the client to http:\/\/box:8018\/v1beta\./),
      'gemini',
    ]);
  });

  it.each(['/', '/v1', '/favicon.ico', '/nowhere'])('%s gets both base URLs', (path) => {
    expect(adviseOnPath(path, here, places).advice).toContain('http://box:8018/v1');
  });

  it('needs no address to be known', () => {
    const nowhere = { gateway: undefined, pool: undefined };
    for (const path of ['/chat/completions', '/messages', '/', '/api/accounts', '/v1/embeddings']) {
      expect(adviseOnPath(path, here, nowhere).advice).not.toContain('undefined');
    }
  });
});

it('calls that nothing serves are said to be so', () => {
  for (const path of [
    '/v1/files',
    '/v1/audio/translations',
    '/v1/threads/t/messages',
    '/openai/v1/images/edits',
  ]) {
    const { advice, dialect } = adviseOnPath(path, 'gateway', places);
    expect([advice, dialect]).toEqual([expect.stringMatching(/no such call.*POST \/v1\/chat/), 'openai']);
  }
});

it('calls of Gemini that are not served are said to be so in its words', () => {
  for (const path of ['/v1beta/cachedContents', '/v1alpha/files', '/v1beta/models/m/operations']) {
    const { advice, dialect } = adviseOnPath(path, 'gateway', places);
    expect([advice, dialect]).toEqual([expect.stringMatching(/no such call.*:generateContent/), 'gemini']);
  }
});

it("the pool's calls are sent to the pool", () => {
  expect(adviseOnPath('/api/accounts/status', 'gateway', places).advice).toContain('http://box:8019');
  expect(adviseOnPath('/v1/api/accounts', 'pool', places).advice).toContain('http://box:8019');
  expect(adviseOnPath('/api/accounts', 'gateway', { ...places, pool: undefined }).advice).toContain('inside');
});
