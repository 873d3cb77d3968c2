// What the scenarios look at in a request of Chat Completions.
import type { JsonObject } from '../struct.ts';
import type { Facts } from '../vendor/scenarios.ts';

interface ChatPart {
  readonly type: string;
  readonly text?: string;
  readonly image_url?: { readonly url: string };
}

interface ChatMessage {
  readonly role: string;
  readonly content?: string | readonly ChatPart[] | null;
  readonly tool_call_id?: string;
  readonly tool_calls?: readonly {
    readonly id: string;
    readonly function: { readonly name: string; readonly arguments: string };
  }[];
}

export interface ChatRequest {
  readonly model: string;
  readonly stream?: boolean;
  readonly stream_options?: { readonly include_usage?: boolean } | null;
  readonly n?: number;
  readonly logprobs?: boolean | null;
  readonly service_tier?: string;
  readonly messages: readonly ChatMessage[];
  readonly tools?: readonly {
    readonly function: { readonly name: string; readonly parameters?: JsonObject };
  }[];
  readonly tool_choice?: string | { readonly function?: { readonly name: string } };
  readonly parallel_tool_calls?: boolean;
  readonly max_tokens?: number;
  readonly max_completion_tokens?: number;
  readonly stop?: string | readonly string[] | null;
  readonly reasoning_effort?: string;
  readonly response_format?: {
    readonly type?: string;
    readonly json_schema?: { readonly schema?: JsonObject };
  };
}

const partsOf = ({ content }: ChatMessage): readonly ChatPart[] =>
  typeof content === 'string' ? [{ type: 'text', text: content }] : (content ?? []);
const textOf = (message: ChatMessage) =>
  partsOf(message)
    .map(({ text = '' }) => text)
    .join('');

export function factsOf(request: ChatRequest): Facts {
  const { messages, tools = [], tool_choice: choice, stop, response_format: format } = request;
  // What stands behind the results is no question of its own: images of results come there.
  const asked = messages.findLastIndex(
    ({ role }, index) => role === 'user' && messages[index - 1]?.role !== 'tool',
  );
  const since = messages.slice(asked + 1);
  const named = typeof choice === 'object' ? choice.function?.name : undefined;
  const offered = tools.map(({ function: { name, parameters = {} } }) => ({ name, schema: parameters }));
  const isRule = ({ role }: ChatMessage) => role === 'system' || role === 'developer';
  const said = messages.slice(0, Math.max(0, asked)).filter((message) => !isRule(message));
  const question = messages[asked];
  const last = messages.at(-1);
  return {
    text: question ? textOf(question) : '',
    rules: messages.filter(isRule).map(textOf).join('\n\n'),
    earlier: said.map(textOf),
    begun: last?.role === 'assistant' ? textOf(last) : undefined,
    tools: offered.filter(({ name }) => named === undefined || name === named),
    results: since
      .flatMap(({ tool_calls: calls = [] }) => calls)
      .flatMap(({ id, function: call }) =>
        since
          .filter((message) => message.tool_call_id === id)
          .map((message) => ({
            name: call.name,
            args: JSON.parse(call.arguments) as Record<string, unknown>,
            text: textOf(message),
            images: 0,
          })),
      ),
    rounds: since.filter(({ tool_calls: calls = [] }) => calls.length > 0).length,
    media: messages.flatMap(partsOf).flatMap(({ image_url: image }) => {
      if (image === undefined) return [];
      const [, type = 'url', encoded = ''] = /^data:([^;]+);base64,(.*)$/s.exec(image.url) ?? [];
      return [{ kind: 'image' as const, type, bytes: Buffer.from(encoded, 'base64').length }];
    }),
    schema: format?.json_schema?.schema,
    isJson: format?.type === 'json_object',
    isThinking: request.reasoning_effort !== 'none',
    stop: typeof stop === 'string' ? [stop] : (stop ?? []),
    maxTokens: request.max_completion_tokens ?? request.max_tokens,
    mustCall: choice === 'required' || named !== undefined,
    mayCall: choice !== 'none',
    isParallel: request.parallel_tool_calls !== false,
  };
}
