import type { ServerResponse } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { fail, json } from './answers.ts';

/** What of a request the scenarios look at. */
export interface ChatRequest {
  readonly model: string;
  readonly stream?: boolean;
  readonly stream_options?: { readonly include_usage?: boolean } | null;
  readonly n?: number;
  readonly service_tier?: string;
  readonly messages: readonly {
    readonly role: string;
    readonly content?: unknown;
    readonly tool_call_id?: string;
  }[];
  readonly tools?: readonly { readonly function: { readonly name: string } }[];
}

interface Call {
  readonly id: string;
  readonly name: string;
  /** In the pieces that a stream sends. */
  readonly pieces: readonly string[];
}

/** A whole answer, which is sent in one body or as a stream. */
interface Answer {
  readonly texts?: readonly string[];
  readonly thoughts?: readonly string[];
  readonly calls?: readonly Call[];
  readonly isSigned?: boolean;
  readonly refusals?: readonly string[];
  readonly annotations?: readonly object[];
  /** Of its prompt. */
  readonly cacheWriteTokens?: number;
  readonly finish: string;
}

const text: Answer = { texts: ['Hello', ' from', ' the', ' upstream', ' – ünïcode.'], finish: 'stop' };

const usage = {
  prompt_tokens: 21,
  completion_tokens: 7,
  total_tokens: 28,
  prompt_tokens_details: { cached_tokens: 16, audio_tokens: 0 },
  completion_tokens_details: { reasoning_tokens: 3, audio_tokens: 0 },
};

type Scenario = (request: ChatRequest, response: ServerResponse) => Promise<void> | void;

const scenarios: Readonly<Record<string, Scenario>> = {
  'chat-text': (request, response) => answer(request, response, text),
  /** The last request that the key may send for half a minute. */
  'chat-last-request': (request, response) => {
    response.setHeader('x-ratelimit-limit-requests', '1');
    response.setHeader('x-ratelimit-remaining-requests', '0');
    response.setHeader('x-ratelimit-reset-requests', '30s');
    return answer(request, response, text);
  },
  'chat-reasoning': (request, response) =>
    answer(request, response, { ...text, thoughts: ['Let me', ' think.'] }),
  /** As a router of models does that sign what they thought. */
  'chat-signed': (request, response) =>
    answer(request, response, { ...toolAnswer(request), thoughts: ['Let me', ' think.'], isSigned: true }),
  'chat-length': (request, response) => answer(request, response, { texts: ['Cut sho'], finish: 'length' }),
  /** A structured answer that the model would not give: it ends like any other, and has no content. */
  'chat-refusal': (request, response) =>
    answer(request, response, { refusals: ['I am sorry,', ' I cannot help with that.'], finish: 'stop' }),
  /** A search model's: sources come with the last of the text. */
  'chat-annotations': (request, response) =>
    answer(request, response, {
      texts: ['Rain (', 'example.com', ').'],
      annotations: [
        {
          type: 'url_citation',
          url_citation: { start_index: 6, end_index: 17, url: 'https://example.com/w', title: 'Weather' },
        },
      ],
      cacheWriteTokens: 2,
      finish: 'stop',
    }),
  /** Mistral's word for its limit. */
  'chat-odd-finish': (request, response) =>
    answer(request, response, { texts: ['Cut sho'], finish: 'model_length' }),
  'chat-filter': (request, response) =>
    answer(request, response, { texts: ['No.'], finish: 'content_filter' }),
  'chat-tools': (request, response) => answer(request, response, toolAnswer(request)),
  /** Some servers say that an answer with calls just stopped. */
  'chat-tools-stop': (request, response) =>
    answer(request, response, { ...toolAnswer(request), finish: 'stop' }),
  'chat-error-in-200': (_request, response) => {
    begin(response);
    send(response, {
      error: { message: 'The server had an error.', type: 'server_error', param: null, code: null },
    });
    response.end();
  },
  'chat-error-late': async (request, response) => {
    begin(response);
    send(response, chunk(request, { role: 'assistant', content: 'Half' }));
    await delay(50);
    send(response, {
      error: { message: 'The server had an error.', type: 'server_error', param: null, code: null },
    });
    response.end();
  },
  'chat-429': (_request, response) =>
    fail(response, 429, 'rate_limit_exceeded', 'Slow down.', { 'retry-after': '1' }),
  'chat-429-bare': (_request, response) => fail(response, 429, 'rate_limit_exceeded', 'Slow down.'),
  'chat-500': (_request, response) => fail(response, 500, null, 'The server had an error.'),
  'chat-400': (_request, response) =>
    fail(response, 400, 'unsupported_value', "Unsupported value: 'temperature'.", {}, 'temperature'),
  'chat-too-long': (_request, response) =>
    fail(
      response,
      400,
      'context_length_exceeded',
      "This model's maximum context length is 8 tokens.",
      {},
      'messages',
    ),
  'chat-cut': async (request, response) => {
    begin(response);
    send(response, chunk(request, { role: 'assistant', content: 'Half' }));
    await delay(50);
    response.write('data: {"id":"chatcmpl-up","object":"chat.compl');
    await delay(20);
    response.destroy();
  },
  'chat-cut-early': async (_request, response) => {
    begin(response);
    response.write(': processing\n\n');
    await delay(20);
    response.destroy();
  },
  /** Ends well as HTTP goes, and in the middle as answers go. */
  'chat-early-end': async (request, response) => {
    begin(response);
    send(response, chunk(request, { role: 'assistant', content: 'Half' }));
    await delay(50);
    response.end();
  },
  /** Takes a second and a half. */
  'chat-slow': async (request, response) => {
    begin(response);
    for (const word of ['One', ' two', ' three']) {
      send(response, chunk(request, { role: 'assistant', content: word }));
      await delay(500);
    }
    end(request, response, 'stop');
  },
  'chat-stall': (request, response) => {
    begin(response);
    send(response, chunk(request, { role: 'assistant', content: 'Half' }));
  },
  'chat-malformed': (request, response) => {
    begin(response);
    send(response, chunk(request, { role: 'assistant', content: 'Before' }));
    response.write('data: {"id":"chatcmpl-up", oops\n\n');
    send(response, chunk(request, { content: ' after' }));
    end(request, response, 'stop');
  },
  'chat-no-done': (request, response) => {
    begin(response);
    send(response, chunk(request, { role: 'assistant', content: 'Whole' }));
    send(response, chunk(request, {}, 'stop'));
    response.end();
  },
  /** Whole, but the connection stays open without the end mark. */
  'chat-open': (request, response) => {
    begin(response);
    send(response, chunk(request, { role: 'assistant', content: 'Whole' }));
    send(response, chunk(request, {}, 'stop'));
  },
};

export const models: readonly string[] = Object.keys(scenarios);

export async function play(request: ChatRequest, response: ServerResponse): Promise<void> {
  await scenarios[request.model]?.(request, response);
}

/** Two calls side by side, of the first two tools; the results that come back are read out. */
function toolAnswer({ messages, tools = [] }: ChatRequest): Answer {
  const results = messages.filter(({ role }) => role === 'tool');
  if (results.length > 0) {
    const said = results.map(({ tool_call_id: id, content }) => `${id}=${String(content)}`).join('; ');
    return { texts: [`Results: ${said}`], finish: 'stop' };
  }
  const calls = tools.slice(0, 2).map(({ function: { name } }, index) => ({
    id: `call_up_${index + 1}`,
    name,
    pieces: ['{"ci', 'ty":"', `Place ${index + 1}`, '"}'],
  }));
  return { calls, finish: 'tool_calls' };
}

function answer(request: ChatRequest, response: ServerResponse, given: Answer): void {
  if (!request.stream) {
    json(response, 200, whole(request, given));
    return;
  }
  begin(response);
  const { texts = [], refusals = [], annotations = [], thoughts = [], calls = [] } = given;
  for (const index of choicesOf(request)) {
    send(response, chunk(request, { role: 'assistant', content: '' }, null, index));
    for (const thought of thoughts)
      send(response, chunk(request, { reasoning_content: thought }, null, index));
    if (given.isSigned) {
      const signed = { type: 'reasoning.text', text: '', signature: 'c2ln', index: 0 };
      send(response, chunk(request, { reasoning_details: [{ ...signed, text: 'Let me', signature: null }] }));
      send(response, chunk(request, { reasoning_details: [{ ...signed, text: ' think.' }] }));
    }
    for (const piece of texts) send(response, chunk(request, { content: piece }, null, index));
    for (const piece of refusals) send(response, chunk(request, { refusal: piece }, null, index));
    for (const one of annotations) send(response, chunk(request, { annotations: [one] }, null, index));
    for (const [at, call] of calls.entries()) {
      const head = { index: at, id: call.id, type: 'function', function: { name: call.name, arguments: '' } };
      send(response, chunk(request, { tool_calls: [head] }, null, index));
    }
    // The pieces of parallel calls may be mixed.
    for (const round of [0, 1, 2, 3]) {
      for (const [at, { pieces }] of calls.entries()) {
        const piece = { index: at, function: { arguments: pieces[round] } };
        send(response, chunk(request, { tool_calls: [piece] }, null, index));
      }
    }
    send(response, chunk(request, {}, given.finish, index));
  }
  finishStream(request, response, usageOf(given));
}

function usageOf({ cacheWriteTokens: written }: Answer) {
  const details = {
    ...usage.prompt_tokens_details,
    ...(written !== undefined && { cache_write_tokens: written }),
  };
  return { ...usage, prompt_tokens_details: details };
}

function whole(request: ChatRequest, given: Answer) {
  const { texts, refusals, annotations = [], thoughts, calls = [], finish } = given;
  const message = {
    role: 'assistant',
    content: texts?.join('') ?? null,
    refusal: refusals?.join('') ?? null,
    annotations,
    ...(thoughts && { reasoning_content: thoughts.join('') }),
    ...(calls.length > 0 && {
      tool_calls: calls.map(({ id, name, pieces }) => ({
        id,
        type: 'function',
        function: { name, arguments: pieces.join('') },
      })),
    }),
  };
  return {
    id: 'chatcmpl-up',
    object: 'chat.completion',
    created: 1_700_000_000,
    model: `${request.model}-2026`,
    service_tier: request.service_tier ?? 'default',
    choices: choicesOf(request).map((index) => ({ index, message, logprobs: null, finish_reason: finish })),
    usage: usageOf(given),
  };
}

function choicesOf({ n = 1 }: ChatRequest): number[] {
  return Array.from({ length: n }, (_, index) => index);
}

function begin(response: ServerResponse): void {
  response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' });
}

function send(response: ServerResponse, value: unknown): void {
  response.write(`data: ${JSON.stringify(value)}\n\n`);
}

function chunk(request: ChatRequest, delta: unknown, finish: string | null = null, index = 0) {
  return {
    id: 'chatcmpl-up',
    object: 'chat.completion.chunk',
    created: 1_700_000_000,
    model: `${request.model}-2026`,
    service_tier: request.service_tier ?? 'default',
    choices: [{ index, delta, logprobs: null, finish_reason: finish }],
    ...(request.stream_options?.include_usage && { usage: null }),
  };
}

function end(request: ChatRequest, response: ServerResponse, finish: string): void {
  send(response, chunk(request, {}, finish));
  finishStream(request, response);
}

function finishStream(request: ChatRequest, response: ServerResponse, reported: object = usage): void {
  if (request.stream_options?.include_usage) {
    send(response, { ...chunk(request, {}), choices: [], usage: reported });
  }
  response.write('data: [DONE]\n\n');
  response.end();
}
