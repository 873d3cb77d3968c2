import type Anthropic from '@anthropic-ai/sdk';
import type * as Gemini from '@google/genai';
import type OpenAI from 'openai';
import { describe, expect, expectTypeOf, it } from 'vitest';
import { AppError } from '../core/errors.ts';
import type { messagesFields } from './anthropic-messages/fields.ts';
import type { geminiFields, geminiParts } from './gemini/fields.ts';
import type { chatFields } from './openai-chat/fields.ts';
import type { responsesFields } from './openai-responses/fields.ts';
import { createFieldCheck } from './shared/field-table.ts';

const checkBoth = createFieldCheck({
  read: { handling: 'honoured', says: 'read' },
  tuned: { handling: 'passed on', says: 'tuned' },
  kept: { handling: 'silent', says: 'kept' },
  hint: { handling: 'ignored', says: 'a hint', neutral: ['auto', []] },
  odds: { handling: 'refused', says: 'leave it out', neutral: [false] },
  'deep.known': { handling: 'honoured', says: 'known' },
  'deep.hint': { handling: 'ignored', says: 'a hint' },
  'list[].inner.hint': { handling: 'ignored', says: 'a hint', neutral: [false] },
  'list[].bad': { handling: 'refused', says: 'leave it out' },
  'list[].rare': { handling: 'ignored', wish: 'strictTools', says: 'rare', neutral: [false] },
  dear: { handling: 'refused', wish: 'openai.dear', says: 'leave it out' },
  own: { handling: 'silent', wish: 'openai.own', says: 'bookkeeping' },
});
const check = (body: object) => checkBoth(body).ignored;

describe('a body read by a table', () => {
  it('names what is ignored and what is unknown, also one level down, and nothing else', () => {
    const body = { read: 1, tuned: 1, kept: 1, hint: 'high', deep: { known: 1, hint: 1, other: 1 }, x: 1 };
    expect(check(body)).toEqual(['hint', 'deep.hint', 'deep.other', 'x']);
  });

  it('says nothing about null and values that ask for nothing', () => {
    expect(check({ hint: 'auto', odds: false, deep: { hint: null, other: null }, x: null })).toEqual([]);
    expect(check({ hint: [], odds: null })).toEqual([]);
  });

  it('looks into lists for fields of the table only, and names each once', () => {
    const list = [{ inner: { hint: true }, other: 1 }, { inner: { hint: true } }, { inner: { hint: false } }];
    expect(check({ list })).toEqual(['list.inner.hint']);
  });

  it('leaves what some upstreams take to the upstream, with its value and what becomes of it elsewhere', () => {
    const list = [{ rare: false }, { rare: true }, { rare: true }];
    expect(checkBoth({ list, dear: { a: 1 }, own: 'me' })).toEqual({
      ignored: ['list.rare'],
      wishes: [
        { ability: 'strictTools', param: 'list.rare', value: true, otherwise: 'ignored', says: 'rare' },
        {
          ability: 'openai.dear',
          param: 'dear',
          value: { a: 1 },
          otherwise: 'refused',
          says: 'leave it out',
        },
        { ability: 'openai.own', param: 'own', value: 'me', otherwise: 'silent', says: 'bookkeeping' },
      ],
    });
    expect(checkBoth({ dear: null, own: null }).wishes).toEqual([]);
  });

  it('refuses with the place and what to do', () => {
    const refused = (body: object) => {
      try {
        check(body);
      } catch (error) {
        return error;
      }
      return undefined;
    };
    expect(refused({ odds: true })).toBeInstanceOf(AppError);
    expect(refused({ odds: true })).toMatchObject({ param: 'odds', message: 'odds: leave it out.' });
    expect(refused({ list: [{}, { bad: 0 }] })).toMatchObject({ param: 'list.1.bad' });
  });

  it('names no more than a header has room for', () => {
    const body = Object.fromEntries(Array.from({ length: 1_000 }, (_, index) => [`unknown${index}`, 1]));
    expect(check(body)).toHaveLength(50);
  });

  it('is not led astray by names that every object has', () => {
    expect(check(JSON.parse('{"__proto__": 1, "constructor": 1}') as object)).toEqual([
      '__proto__',
      'constructor',
    ]);
  });
});

/** The first step of each path of a table. */
type Fields<Table> = Head<keyof Table & string>;
type Head<Path extends string> = Path extends `${infer First}.${string}` ? Unlisted<First> : Unlisted<Path>;
type Unlisted<Step extends string> = Step extends `${infer Name}[]` ? Name : Step;

/** Checked by the compiler: a client library that learns a new field turns these red until its handling is decided. */
describe('every field of the official clients', () => {
  it('of Chat Completions has a handling', () => {
    type Missing = Exclude<keyof OpenAI.ChatCompletionCreateParams, Fields<typeof chatFields>>;
    expectTypeOf<Missing>().toEqualTypeOf<never>();
  });

  it('of Responses has a handling', () => {
    type Missing = Exclude<keyof OpenAI.Responses.ResponseCreateParams, Fields<typeof responsesFields>>;
    expectTypeOf<Missing>().toEqualTypeOf<never>();
  });

  it('of Messages has a handling, the beta ones too', () => {
    type Missing = Exclude<
      keyof Anthropic.MessageCreateParams | keyof Anthropic.Beta.MessageCreateParams,
      Fields<typeof messagesFields>
    >;
    expectTypeOf<Missing>().toEqualTypeOf<never>();
  });
});

describe('every field of the client of Google', () => {
  /** What the client keeps to itself. */
  type OfTheClient = 'httpOptions' | 'abortSignal' | 'automaticFunctionCalling' | 'automaticContinuation';
  type OfConfig<Path> = Path extends `generationConfig.${infer Field}` ? Head<Field> : never;

  it('has a handling, whether it stands in the request or in its generationConfig', () => {
    type Known = Fields<typeof geminiFields> | OfConfig<keyof typeof geminiFields>;
    expectTypeOf<Exclude<keyof Gemini.GenerateContentConfig, Known | OfTheClient>>().toEqualTypeOf<never>();
  });

  it('says what a part is, or is a note on it', () => {
    type Words<Text> = Text extends `${infer One}, ${infer More}` ? One | Words<More> : Text;
    type Note =
      | 'mediaResolution'
      | 'partMetadata'
      | 'mediaProcessing'
      | 'speechMetadata'
      | 'audioTranscription';
    type Known = Words<keyof typeof geminiParts> | 'videoMetadata' | Note;
    expectTypeOf<Exclude<keyof Gemini.Part, Known>>().toEqualTypeOf<never>();
  });
});

describe('every kind of part of the official clients', () => {
  it('of a Chat message is one that the decoder knows', () => {
    type Part = OpenAI.ChatCompletionContentPart['type'] | OpenAI.ChatCompletionContentPartRefusal['type'];
    expectTypeOf<Part>().toEqualTypeOf<'text' | 'image_url' | 'input_audio' | 'file' | 'refusal'>();
    expectTypeOf<OpenAI.ChatCompletionMessageParam['role']>().toEqualTypeOf<
      'developer' | 'system' | 'user' | 'assistant' | 'tool' | 'function'
    >();
    expectTypeOf<OpenAI.ChatCompletionTool['type']>().toEqualTypeOf<'function' | 'custom'>();
  });

  it('of a Messages message is one that the decoder knows, the beta ones too', () => {
    type Block = Anthropic.ContentBlockParam['type'] | Anthropic.Beta.BetaContentBlockParam['type'];
    type Decoded =
      | 'text'
      | 'image'
      | 'document'
      | 'search_result'
      | 'tool_use'
      | 'tool_result'
      | 'compaction';
    type Passed = 'thinking' | 'redacted_thinking' | 'container_upload';
    type OfSystem = 'tool_addition' | 'tool_removal';
    type OfTheProvider =
      | `${'server' | 'mcp'}_tool_use`
      | `${string}_tool_result`
      | 'mcp_tool_listing'
      | 'fallback';
    expectTypeOf<Exclude<Block, Decoded | Passed | OfSystem | OfTheProvider>>().toEqualTypeOf<never>();
  });
});
