import { expect, it } from 'vitest';
import { openaiChatInbound } from './inbound.ts';

it.each([
  [undefined, 1],
  [2, 2],
  [0, 1],
  [-3, 1],
  ['2', 1],
])('of n %j a relayed stream has to end %i times', (n, choices) => {
  expect(openaiChatInbound.readRelayed?.({ model: 'm', n }, '{}', {})?.relayed?.choices).toBe(choices);
});
