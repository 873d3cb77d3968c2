import { readChatAnswer, readChatStream, readOpenaiError } from './chat-grammar.ts';
import { readGeminiAnswer, readGeminiError, readGeminiStream } from './gemini-grammar.ts';
import { readMessagesAnswer, readMessagesError, readMessagesStream } from './messages-grammar.ts';
import { readResponsesAnswer, readResponsesStream } from './responses-grammar.ts';
import { type Fields, jsonOf } from './sse-blocks.ts';
import type { Dialect, ReadAnswer, ReadCall } from './stream-grammar.ts';

/** What a client wants, in no dialect. Every dialect can say all of it but where a field says otherwise. */
export interface Wish {
  readonly model: string;
  readonly system?: string;
  readonly messages: readonly Said[];
  readonly tools?: readonly OfferedTool[];
  readonly toolChoice?: 'auto' | 'none' | 'required' | { readonly name: string };
  readonly isParallelOff?: boolean;
  readonly maxTokens?: number;
  /** Not in Responses. */
  readonly stop?: readonly string[];
  readonly schema?: Readonly<Record<string, unknown>>;
  readonly effort?: string;
  readonly temperature?: number;
}

export interface OfferedTool {
  readonly name: string;
  readonly description: string;
  readonly parameters: Readonly<Record<string, unknown>>;
}

export type Said =
  | { readonly by: 'user'; readonly parts: readonly SaidPart[] }
  | { readonly by: 'assistant'; readonly text: string; readonly calls: readonly ReadCall[] }
  | { readonly by: 'tools'; readonly results: readonly SaidResult[] };

export type SaidPart = { readonly text: string } | { readonly image: string };

export interface SaidResult {
  readonly callId: string;
  readonly text: string;
  /** Messages only. */
  readonly isError?: boolean;
  /** Not in Chat Completions. */
  readonly image?: string;
}

export const user = (...parts: (string | SaidPart)[]): Said => ({
  by: 'user',
  parts: parts.map((part) => (typeof part === 'string' ? { text: part } : part)),
});

export interface DialectClient {
  path(model: string, isStream: boolean): string;
  readonly headers: Readonly<Record<string, string>>;
  body(wish: Wish, isStream: boolean): Record<string, unknown>;
  readAnswer(body: string): ReadAnswer;
  readStream(body: string): ReadAnswer;
  readError(body: Fields): { readonly code: string; readonly message: string };
}

/** Fields whose value is there. */
function given(fields: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}

const dataUrl = (image: string) => `data:image/png;base64,${image}`;

const chat: DialectClient = {
  path: () => '/v1/chat/completions',
  headers: { authorization: 'Bearer any' },
  body: (wish, isStream) =>
    given({
      model: wish.model,
      messages: [
        ...(wish.system === undefined ? [] : [{ role: 'system', content: wish.system }]),
        ...wish.messages.flatMap(chatMessages),
      ],
      tools: wish.tools?.map((tool) => ({ type: 'function', function: tool })),
      tool_choice:
        typeof wish.toolChoice === 'object'
          ? { type: 'function', function: wish.toolChoice }
          : wish.toolChoice,
      parallel_tool_calls: wish.isParallelOff ? false : undefined,
      max_completion_tokens: wish.maxTokens,
      stop: wish.stop,
      response_format: wish.schema && {
        type: 'json_schema',
        json_schema: { name: 'answer', schema: wish.schema },
      },
      reasoning_effort: wish.effort,
      temperature: wish.temperature,
      ...(isStream ? { stream: true, stream_options: { include_usage: true } } : {}),
    }),
  readAnswer: (body) => readChatAnswer(jsonOf(body)),
  readStream: readChatStream,
  readError: readOpenaiError,
};

function chatMessages(said: Said): unknown[] {
  switch (said.by) {
    case 'user':
      return [
        {
          role: 'user',
          content: said.parts.map((part) =>
            'text' in part
              ? { type: 'text', text: part.text }
              : { type: 'image_url', image_url: { url: dataUrl(part.image) } },
          ),
        },
      ];
    case 'assistant':
      return [
        {
          role: 'assistant',
          content: said.text === '' ? null : said.text,
          ...(said.calls.length === 0
            ? {}
            : {
                tool_calls: said.calls.map(({ id, name, arguments: input }) => ({
                  id,
                  type: 'function',
                  function: { name, arguments: input },
                })),
              }),
        },
      ];
    case 'tools':
      return said.results.map(({ callId, text }) => ({ role: 'tool', tool_call_id: callId, content: text }));
  }
}

const responses: DialectClient = {
  path: () => '/v1/responses',
  headers: { authorization: 'Bearer any' },
  body: (wish, isStream) =>
    given({
      model: wish.model,
      instructions: wish.system,
      input: wish.messages.flatMap(responseItems),
      tools: wish.tools?.map((tool) => ({ type: 'function', ...tool })),
      tool_choice:
        typeof wish.toolChoice === 'object' ? { type: 'function', ...wish.toolChoice } : wish.toolChoice,
      parallel_tool_calls: wish.isParallelOff ? false : undefined,
      max_output_tokens: wish.maxTokens,
      text: wish.schema && { format: { type: 'json_schema', name: 'answer', schema: wish.schema } },
      reasoning: wish.effort === undefined ? undefined : { effort: wish.effort },
      temperature: wish.temperature,
      store: false,
      ...(isStream ? { stream: true } : {}),
    }),
  readAnswer: (body) => readResponsesAnswer(jsonOf(body)),
  readStream: readResponsesStream,
  readError: readOpenaiError,
};

function responseItems(said: Said): unknown[] {
  switch (said.by) {
    case 'user':
      return [
        {
          type: 'message',
          role: 'user',
          content: said.parts.map((part) =>
            'text' in part
              ? { type: 'input_text', text: part.text }
              : { type: 'input_image', image_url: dataUrl(part.image) },
          ),
        },
      ];
    case 'assistant':
      return [
        ...(said.text === ''
          ? []
          : [{ type: 'message', role: 'assistant', content: [{ type: 'output_text', text: said.text }] }]),
        ...said.calls.map(({ id, name, arguments: input }) => ({
          type: 'function_call',
          call_id: id,
          name,
          arguments: input,
        })),
      ];
    case 'tools':
      return said.results.map(({ callId, text, image }) => ({
        type: 'function_call_output',
        call_id: callId,
        output:
          image === undefined
            ? text
            : [
                { type: 'input_text', text },
                { type: 'input_image', image_url: dataUrl(image) },
              ],
      }));
  }
}

const messages: DialectClient = {
  path: () => '/v1/messages',
  headers: { 'x-api-key': 'any', 'anthropic-version': '2023-06-01' },
  body: (wish, isStream) =>
    given({
      model: wish.model,
      max_tokens: wish.maxTokens ?? 100_000,
      system: wish.system,
      messages: wish.messages.map(messageOf),
      tools: wish.tools?.map(({ parameters, ...tool }) => ({ ...tool, input_schema: parameters })),
      tool_choice: messagesChoice(wish),
      stop_sequences: wish.stop,
      output_config:
        wish.schema || wish.effort
          ? given({
              effort: wish.effort,
              format: wish.schema && { type: 'json_schema', schema: wish.schema },
            })
          : undefined,
      // The other dialects show what a model thinks by themselves.
      thinking: { type: 'enabled', budget_tokens: 1_024 },
      temperature: wish.temperature,
      ...(isStream ? { stream: true } : {}),
    }),
  readAnswer: (body) => readMessagesAnswer(jsonOf(body)),
  readStream: readMessagesStream,
  readError: readMessagesError,
};

function messagesChoice({ toolChoice, isParallelOff }: Wish): unknown {
  const parallel = isParallelOff ? { disable_parallel_tool_use: true } : {};
  if (typeof toolChoice === 'object') return { type: 'tool', ...toolChoice, ...parallel };
  if (toolChoice === 'none') return { type: 'none' };
  if (toolChoice === 'required') return { type: 'any', ...parallel };
  return isParallelOff || toolChoice === 'auto' ? { type: 'auto', ...parallel } : undefined;
}

function messageOf(said: Said): unknown {
  const imageBlock = (data: string) => ({
    type: 'image',
    source: { type: 'base64', media_type: 'image/png', data },
  });
  switch (said.by) {
    case 'user':
      return {
        role: 'user',
        content: said.parts.map((part) =>
          'text' in part ? { type: 'text', text: part.text } : imageBlock(part.image),
        ),
      };
    case 'assistant':
      return {
        role: 'assistant',
        content: [
          ...(said.text === '' ? [] : [{ type: 'text', text: said.text }]),
          ...said.calls.map(({ id, name, arguments: input }) => ({
            type: 'tool_use',
            id,
            name,
            input: JSON.parse(input) as unknown,
          })),
        ],
      };
    case 'tools':
      return {
        role: 'user',
        content: said.results.map(({ callId, text, isError, image }) => ({
          type: 'tool_result',
          tool_use_id: callId,
          content: image === undefined ? text : [{ type: 'text', text }, imageBlock(image)],
          ...(isError ? { is_error: true } : {}),
        })),
      };
  }
}

const gemini: DialectClient = {
  path: (model, isStream) =>
    `/v1beta/models/${model}:${isStream ? 'streamGenerateContent?alt=sse' : 'generateContent'}`,
  headers: { 'x-goog-api-key': 'any' },
  body: (wish) =>
    given({
      systemInstruction: wish.system === undefined ? undefined : { parts: [{ text: wish.system }] },
      contents: wish.messages.map((said) => contentOf(said, wish.messages)),
      tools: wish.tools && [
        {
          functionDeclarations: wish.tools.map(({ parameters, ...tool }) => ({
            ...tool,
            parametersJsonSchema: parameters,
          })),
        },
      ],
      toolConfig: wish.toolChoice && { functionCallingConfig: callingConfig(wish.toolChoice) },
      generationConfig: given({
        maxOutputTokens: wish.maxTokens,
        stopSequences: wish.stop,
        responseMimeType: wish.schema && 'application/json',
        responseJsonSchema: wish.schema,
        temperature: wish.temperature,
        // The dialects of OpenAI show what a model thinks by themselves.
        thinkingConfig: given({ includeThoughts: true, thinkingLevel: wish.effort?.toUpperCase() }),
      }),
    }),
  readAnswer: (body) => readGeminiAnswer(jsonOf(body)),
  readStream: readGeminiStream,
  readError: readGeminiError,
};

function callingConfig(choice: NonNullable<Wish['toolChoice']>): unknown {
  if (typeof choice === 'object') return { mode: 'ANY', allowedFunctionNames: [choice.name] };
  return { mode: { auto: 'AUTO', none: 'NONE', required: 'ANY' }[choice] };
}

function contentOf(said: Said, all: readonly Said[]): unknown {
  switch (said.by) {
    case 'user':
      return {
        role: 'user',
        parts: said.parts.map((part) => ('text' in part ? { text: part.text } : inlineImage(part.image))),
      };
    case 'assistant':
      return {
        role: 'model',
        parts: [
          ...(said.text === '' ? [] : [{ text: said.text }]),
          ...said.calls.map(({ id, name, arguments: input }) => ({
            functionCall: { id, name, args: JSON.parse(input) as unknown },
          })),
        ],
      };
    case 'tools':
      return {
        role: 'user',
        parts: said.results.map(({ callId: id, text, isError, image }) => ({
          functionResponse: {
            id,
            name: nameOfCall(id, all),
            response: isError ? { error: text } : { output: text },
            ...(image === undefined ? {} : { parts: [inlineImage(image)] }),
          },
        })),
      };
  }
}

const inlineImage = (data: string) => ({ inlineData: { mimeType: 'image/png', data } });

function nameOfCall(callId: string, all: readonly Said[]): string {
  const calls = all.flatMap((said) => (said.by === 'assistant' ? said.calls : []));
  return calls.find(({ id }) => id === callId)?.name ?? 'unknown';
}

export const dialectClients: Readonly<Record<Dialect, DialectClient>> = { chat, responses, messages, gemini };
