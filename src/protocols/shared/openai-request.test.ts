import fc from 'fast-check';
import { expect, it } from 'vitest';
import { plainTurn } from '../../core/testing/plain-turn.ts';
import { encodeRequest as encodeChat } from '../openai-chat/encode-request.ts';
import { encodeRequest as encodeResponses } from '../openai-responses/encode-request.ts';
import { acceptedParameters } from './openai-request.ts';

const text = { type: 'string' };

it.each([
  [{}, { type: 'object', properties: {} }],
  [{ type: 'object' }, { type: 'object', properties: {} }],
  [{ properties: { a: text } }, { type: 'object', properties: { a: text } }],
  [{ type: ['object', 'null'] }, { type: 'object', properties: {} }],
  [
    { anyOf: [{ properties: { a: text } }, { properties: { b: text }, required: ['b'] }] },
    { type: 'object', properties: { a: text, b: text } },
  ],
  [
    { type: 'object', properties: { a: { type: 'array' }, items: { type: ['array', 'null'] } } },
    {
      type: 'object',
      properties: { a: { type: 'array', items: {} }, items: { type: ['array', 'null'], items: {} } },
    },
  ],
  [
    { type: 'object', $defs: { x: { anyOf: [{ type: 'array', items: { type: 'array' } }, text] } } },
    {
      type: 'object',
      properties: {},
      $defs: { x: { anyOf: [{ type: 'array', items: { type: 'array', items: {} } }, text] } },
    },
  ],
])('parameters that OpenAI refuses become others: %j', (given, expected) => {
  expect(acceptedParameters(given)).toEqual(expected);
});

it('leaves what it takes as it is', () => {
  const named = fc.dictionary(
    fc.string({ minLength: 1 }).filter((name) => name !== '__proto__'),
    fc.constant(text),
  );
  fc.assert(
    fc.property(named, fc.constantFrom(true, false), (properties, isClosed) => {
      const schema = {
        type: 'object',
        properties: { ...properties, list: { type: 'array', items: text, description: 'x' } },
        required: ['list'],
        additionalProperties: !isClosed,
        $schema: 'http://json-schema.org/draft-07/schema#',
      };
      expect(acceptedParameters(schema)).toEqual(schema);
    }),
  );
});

it('every request to OpenAI has them', () => {
  const request = { ...plainTurn, messages: [], tools: [{ name: 'f', parameters: {} }] };
  const accepted = { type: 'object', properties: {} };
  const chat = JSON.parse(encodeChat({ request }, { maxTokensField: 'max_tokens' }, new Set()));
  expect(chat.tools[0].function.parameters).toEqual(accepted);
  expect(JSON.parse(encodeResponses({ request }, new Set())).tools[0].parameters).toEqual(accepted);
});
