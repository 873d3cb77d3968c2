import type Anthropic from '@anthropic-ai/sdk';
import type * as Gemini from '@google/genai';
import type OpenAI from 'openai';
import { expect, expectTypeOf, it } from 'vitest';
import { plainTurn } from '../../core/testing/plain-turn.ts';
import type { messagesBlocks } from '../anthropic-messages/fields.ts';
import { decodeChatRequest } from '../openai-chat/decode-request.ts';
import type { responsesItems } from '../openai-responses/fields.ts';
import {
  type chatTools,
  type geminiTools,
  messagesTools,
  responsesTools,
  toolKind,
  withOpenaiNames,
} from './tools.ts';

/** A type without the date at its end. */
type Undated<Type> = Type extends `${infer Kind}_20${string}` ? Kind : Type;
/** The first words between commas. */
type Named<Text> = Text extends `${infer One}, ${infer More}`
  ? FirstWord<One> | Named<More>
  : FirstWord<Text>;
type FirstWord<Text> = Text extends `${infer Word} ${string}` ? Word : Text;
type Written<Table> = {
  [Kind in keyof Table]: Table[Kind] extends { call: infer Call; result: infer Result }
    ? Call | Result
    : never;
}[keyof Table];
type TypeOf<Value> = Value extends { type?: infer Type } ? NonNullable<Type> : never;

it('knows every type of tool that the SDKs know', () => {
  type Chat = TypeOf<OpenAI.Chat.ChatCompletionTool>;
  type Responses = Undated<TypeOf<OpenAI.Responses.Tool>>;
  type Messages = Undated<TypeOf<Anthropic.Messages.ToolUnion | Anthropic.Beta.BetaToolUnion>>;
  expectTypeOf<Exclude<Chat, keyof typeof chatTools>>().toBeNever();
  expectTypeOf<Exclude<Responses, keyof typeof responsesTools>>().toBeNever();
  expectTypeOf<Exclude<Messages, keyof typeof messagesTools>>().toBeNever();
  expectTypeOf<Exclude<keyof Gemini.Tool, keyof typeof geminiTools>>().toBeNever();
});

it('has a place for every type of item and block that the SDKs know', () => {
  type Item = TypeOf<OpenAI.Responses.ResponseInputItem | OpenAI.Responses.ResponseItem>;
  type ItemPlace = Named<keyof typeof responsesItems | Written<typeof responsesTools>>;
  expectTypeOf<Exclude<Item, ItemPlace>>().toBeNever();
  type Block = TypeOf<Anthropic.Messages.ContentBlockParam | Anthropic.Beta.BetaContentBlockParam>;
  type BlockPlace = Named<keyof typeof messagesBlocks | Written<typeof messagesTools>>;
  expectTypeOf<Exclude<Block, BlockPlace>>().toBeNever();
});

it('knows a type by its family, whatever its date', () => {
  expect(toolKind(messagesTools, 'bash_20300101')).toBe('bash');
  expect(toolKind(responsesTools, 'web_search_preview_2025_03_11')).toBe('web_search_preview');
  expect(toolKind(messagesTools, 'bash_tool')).toBeUndefined();
  expect(toolKind(messagesTools, 'constructor')).toBeUndefined();
  expect(toolKind(messagesTools, '__proto__')).toBeUndefined();
});

it('holds for Chat Completions too: another type is named beside functions and refused alone', () => {
  const read = { type: 'function', function: { name: 'read' } };
  const decode = (more: object) =>
    decodeChatRequest({ model: 'auto', messages: [{ role: 'user', content: 'Hello' }], ...more });
  expect(decode({ tools: [{ type: 'web_search' }, read] })).toMatchObject({
    ignored: ['tools.web_search'],
    request: { tools: [{ name: 'read' }] },
  });
  for (const tool_choice of [undefined, 'auto', 'required']) {
    expect(() => decode({ tools: [{ type: 'web_search' }], tool_choice })).toThrowError(
      expect.objectContaining({ param: 'tools.0.type', message: expect.stringContaining('"web_search"') }),
    );
  }
  expect(decode({ tools: [{ type: 'web_search' }], tool_choice: 'none' }).request.tools).toEqual([]);
});

it('fits however many names that are alike, each into its own', () => {
  const names = [
    ...Array.from({ length: 300 }, (_, index) => `${'m'.repeat(64)}${index}`),
    '.'.repeat(64),
    ':'.repeat(64),
  ];
  const tools = names.map((name) => ({ name, parameters: {} }));
  const { request, toolNames } = withOpenaiNames({ ...plainTurn, messages: [], tools });
  const sent = request.tools.map(({ name }) => name);
  expect(sent.filter((name) => !/^[\w-]{1,64}$/.test(name))).toEqual([]);
  expect(sent.map((name) => toolNames.get(name))).toEqual(names);
  expect(sent.slice(0, 2)).toEqual(['m'.repeat(64), `${'m'.repeat(63)}_`]);
});
