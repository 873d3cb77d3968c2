// Plays OpenAI's Responses API on this machine. The model's name chooses the scenario.
import type { JsonObject } from '../struct.ts';
import { OpenaiVendor, openaiError, openaiLimits } from '../vendor/openai-vendor.ts';
import { type Answer, answerOf, type Facts, scenarioNames } from '../vendor/scenarios.ts';
import { type VendorOptions, type VendorSandbox, VendorServer } from '../vendor/server.ts';
import {
  askedIn,
  type Played,
  type Reply,
  type SeenRequest,
  type Turn,
  type Vendor,
} from '../vendor/vendor.ts';
import { abandonedFrames, playedAnswer, type Shown, streamType } from './answer.ts';
import { type ModelKind, problemOf } from './check.ts';
import { type Item, type Problem, problemIn, type ResponsesRequest, responsesRequest } from './request.ts';

/** Beside those of every vendor: a model that takes nothing of reasoning, and usage by `prompt_cache_key`. */
const scenarios = [...scenarioNames, 'plain', 'cache'].map((name) => `gpt-${name}`);
const kinds: Readonly<Record<string, ModelKind>> = { 'gpt-thinking': 'thinking', 'gpt-plain': 'plain' };

interface Read {
  readonly request: ResponsesRequest;
  /** With what was stored before it. */
  readonly items: readonly Item[];
}

class Responses extends OpenaiVendor implements Vendor {
  readonly scenarios = scenarios;
  readonly malformedFrame =
    'event: response.output_text.delta\ndata: {"type":"response.output_text.delta", oops\n\n';
  /** Input and output of each response that is stored. */
  readonly #stored = new Map<string, readonly Item[]>();
  /** Tokens by key. */
  readonly #cached = new Map<string, number>();
  #count = 0;

  turnOf(_seen: SeenRequest, path: string, _url: URL, body: unknown) {
    return path === '/responses' ? askedIn(body) : undefined;
  }

  answer(turn: Turn): Played | Reply {
    return this.#played(turn, {});
  }

  filtered(turn: Turn): Played | Reply {
    return this.#played(turn, { texts: ['No.'], calls: [], finish: 'filter' });
  }

  abandoned(turn: Turn) {
    const frames = abandonedFrames(this.#shown(turn, turn.body as ResponsesRequest));
    return { frames, contentType: streamType };
  }

  isPrefilled({ body }: Turn): boolean {
    const { input } = body as { readonly input?: unknown };
    const last = Array.isArray(input) ? (input.at(-1) as { readonly role?: string } | undefined) : undefined;
    return last?.role === 'assistant';
  }

  #shown({ model }: Turn, request: ResponsesRequest): Shown {
    this.#count += 1;
    return { model, id: String(this.#count), request };
  }

  #played(turn: Turn, more: Partial<Answer>): Played | Reply {
    const read = this.#read(turn);
    if (!('items' in read)) return openaiError(read.status ?? 400, read.code, read.message, read.param);
    const { request, items } = read;
    const name = turn.scenario.slice('gpt-'.length);
    const own = name === 'cache' ? { usage: this.#usageOf(request) } : {};
    const shown = this.#shown(turn, request);
    const answer = answerOf(name === 'plain' ? 'text' : name, factsOf(request, items), { ...own, ...more });
    const played = playedAnswer(answer, shown, openaiLimits());
    if (request.store !== false) {
      const { output } = played.whole as { readonly output: readonly Item[] };
      this.#stored.set(`resp_${shown.id}`, [...items, ...output]);
    }
    return played;
  }

  #read({ body, scenario }: Turn): Read | Problem {
    const parsed = responsesRequest.safeParse(body);
    if (!parsed.success) return problemIn(parsed.error);
    const request = parsed.data;
    const { input = [], previous_response_id: previous } = request;
    const before = previous ? this.#stored.get(previous) : [];
    if (before === undefined) {
      const message = `Previous response with id '${previous}' not found.`;
      return { message, param: 'previous_response_id', code: 'previous_response_not_found' };
    }
    const own: readonly Item[] =
      typeof input === 'string' ? [{ type: 'message', role: 'user', content: input }] : input;
    const items = [...before, ...own];
    const kept = [...this.#stored.values()]
      .flat()
      .flatMap((item) => ('id' in item && item.id ? [String(item.id)] : []));
    return problemOf(request, items, new Set(kept), kinds[scenario] ?? 'both') ?? { request, items };
  }

  #usageOf(request: ResponsesRequest) {
    const { prompt_cache_key: key, input, instructions, tools } = request;
    const tokens = Math.ceil(JSON.stringify([instructions, tools, input]).length / 4);
    const before = key ? (this.#cached.get(key) ?? 0) : 0;
    if (key) this.#cached.set(key, tokens);
    return { input: tokens, cacheRead: Math.min(tokens, before), cacheWrite: 0, output: 7, thinking: 0 };
  }
}

function textOf(content: string | readonly { readonly type: string; readonly text?: string }[]): string {
  if (typeof content === 'string') return content;
  return content.flatMap((part) => (part.text === undefined ? [] : [part.text])).join('\n');
}

function factsOf(request: ResponsesRequest, items: readonly Item[]): Facts {
  const { tools, tool_choice: choice, text, reasoning } = request;
  const last = items.findLastIndex((item) => item.type === 'message' && item.role === 'user');
  const since = items.slice(last + 1);
  const calls = since.flatMap((item) => (item.type === 'function_call' ? [item] : []));
  const outputs = since.flatMap((item) => (item.type === 'function_call_output' ? [item] : []));
  const asked = items[last];
  const end = items.at(-1);
  const offered = (tools ?? []).flatMap((tool) =>
    tool.type === 'function'
      ? [{ name: String(tool['name']), schema: (tool['parameters'] ?? {}) as JsonObject }]
      : [],
  );
  const said = (list: readonly Item[], isRule: boolean) =>
    list.flatMap((item) =>
      item.type === 'message' && isRule === ['system', 'developer'].includes(item.role)
        ? [textOf(item.content)]
        : [],
    );
  const named =
    typeof choice === 'object' && choice?.type === 'function' ? String(choice['name']) : undefined;
  // Calls side by side stand next to each other; a round ends with their outputs.
  const rounds = since.filter(
    (item, index) => item.type === 'function_call' && since[index - 1]?.type !== 'function_call',
  );
  return {
    text: asked?.type === 'message' ? textOf(asked.content) : '',
    rules: [request.instructions ?? '', ...said(items, true)].join('\n\n'),
    earlier: said(items.slice(0, Math.max(0, last)), false),
    begun: end?.type === 'message' && end.role === 'assistant' ? textOf(end.content) : undefined,
    tools: offered.filter(({ name }) => named === undefined || name === named),
    results: calls.flatMap(({ call_id: id, name, arguments: input }) =>
      outputs
        .filter((output) => output.call_id === id)
        .map(({ output }) => ({
          name,
          args: JSON.parse(input) as Record<string, unknown>,
          text: textOf(output),
          images: typeof output === 'string' ? 0 : output.filter(({ type }) => type === 'input_image').length,
        })),
    ),
    rounds: rounds.length,
    media: items.flatMap(mediaOf),
    schema: text?.format?.type === 'json_schema' ? (text.format.schema as JsonObject) : undefined,
    isJson: text?.format?.type === 'json_object',
    isThinking: reasoning?.effort !== 'none',
    maxTokens: request.max_output_tokens ?? undefined,
    mustCall: choice === 'required' || named !== undefined,
    mayCall: choice !== 'none',
    isParallel: request.parallel_tool_calls !== false,
  };
}

function mediaOf(item: Item): Facts['media'][number][] {
  const content =
    item.type === 'message' ? item.content : item.type === 'function_call_output' ? item.output : '';
  if (typeof content === 'string') return [];
  return content.flatMap((part) => {
    if (part.type !== 'input_image' && part.type !== 'input_file') return [];
    const data = part.type === 'input_image' ? part.image_url : part.file_data;
    const [, type = 'url', encoded = ''] = /^data:([^;]+);base64,(.*)$/s.exec(data ?? '') ?? [];
    const kind = part.type === 'input_image' ? 'image' : 'document';
    return [{ kind, type, bytes: Buffer.from(encoded, 'base64').length }];
  });
}

export function startResponsesSandbox(options: VendorOptions = {}): Promise<VendorSandbox> {
  return VendorServer.start(new Responses(), options);
}
