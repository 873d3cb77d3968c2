import { expect, it } from 'vitest';
import { mostOutputIn } from './told-limits.ts';

it.each([
  // OpenAI
  [
    'max_tokens is too large: 32000. This model supports at most 16384 completion tokens, whereas you provided 32000.',
    16_384,
  ],
  [
    "This model's maximum context length is 8192 tokens. However, you requested 9300 tokens (1000 in the messages, 300 in the functions, and 8000 in the completion).",
    6_892,
  ],
  // Anthropic
  [
    'max_tokens: 128001 > 64000, which is the maximum allowed number of output tokens for claude-opus-4-5-20251101',
    64_000,
  ],
  [
    'input length and `max_tokens` exceed context limit: 190000 + 21333 > 200000, decrease input length',
    10_000,
  ],
  // vLLM, and servers built on it
  [
    "'max_tokens' or 'max_completion_tokens' is too large: 32000. This model's maximum context length is 40960 tokens and your request has 16402 input tokens (32000 > 40960 - 16402).",
    24_558,
  ],
  [
    "Requested token count exceeds the model's maximum context length of 262144 tokens. You requested a total of 262462 tokens: 230462 tokens from the input messages and 32000 tokens for the completion.",
    31_682,
  ],
  // OpenRouter
  [
    "This endpoint's maximum context length is 131072 tokens. However, you requested about 150000 tokens (100000 of text input, 18000 of tool input, 32000 in the output).",
    13_072,
  ],
  // Groq, Doubao, DeepSeek, DashScope, Google
  [
    '`max_tokens` must be less than or equal to `8192`, the maximum value for `max_tokens` is less than the `context_window` for this model',
    8_192,
  ],
  [
    'The parameter `max_completion_tokens` specified in the request are not valid: integer above maximum value, expected a value <= 12288, but got 32000 instead.',
    12_288,
  ],
  ['Invalid max_tokens value, the valid range of max_tokens is [1, 8192]', 8_192],
  ['<400> InternalError.Algo.InvalidParameter: Range of max_tokens should be [1, 8192]', 8_192],
  [
    'Unable to submit request because it has a maxOutputTokens value of 100000 but the supported range is from 1 (inclusive) to 65537 (exclusive).',
    65_536,
  ],
  // No room, and other refusals
  ['input length and `max_tokens` exceed context limit: 199500 + 21333 > 200000', undefined],
  ['prompt is too long: 208310 tokens > 200000 maximum', undefined],
  [
    "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens.",
    undefined,
  ],
  ['temperature must be less than or equal to 2', undefined],
  ['max_tokens: Field required', undefined],
  ['', undefined],
])('%s', (message, most) => {
  expect(mostOutputIn(message)?.mostOutputTokens).toBe(most);
});

it('tells a limit of the model from the room that a prompt leaves', () => {
  const ofModel = 'max_tokens is too large: 32000. This model supports at most 16384 completion tokens.';
  const room = 'input length and `max_tokens` exceed context limit: 190000 + 21333 > 200000';
  expect([ofModel, room].map((message) => mostOutputIn(message)?.isOfModel)).toEqual([true, false]);
});
