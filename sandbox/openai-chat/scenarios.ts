import type { ServerResponse } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { openaiError, openaiFailure } from '../vendor/openai-vendor.ts';
import { abandonedUsage, answerOf, scenarioNames, type Usage } from '../vendor/scenarios.ts';
import { taken } from '../vendor/taken.ts';
import type { ByHand, Played, Reply, Turn } from '../vendor/vendor.ts';
import { type ChatRequest, factsOf } from './request.ts';

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
  readonly tokens?: Usage;
  readonly finish: string;
  readonly everyMs?: number;
}

const text: Answer = { texts: ['Hello', ' from', ' the', ' upstream', ' – ünïcode.'], finish: 'stop' };

const usage = {
  prompt_tokens: 21,
  completion_tokens: 7,
  total_tokens: 28,
  prompt_tokens_details: { cached_tokens: 16, audio_tokens: 0 },
  completion_tokens_details: { reasoning_tokens: 3, audio_tokens: 0 },
};

type Scenario = (request: ChatRequest) => Played | Reply | ByHand;

const scenarios: Readonly<Record<string, Scenario>> = {
  'chat-text': (request) => played(request, text),
  /** The last request that the key may send for half a minute. */
  'chat-last-request': (request) => ({
    ...played(request, text),
    headers: {
      'x-ratelimit-limit-requests': '1',
      'x-ratelimit-remaining-requests': '0',
      'x-ratelimit-reset-requests': '30s',
    },
  }),
  /** The model's requests are used up for so long, and the account's other models are not. */
  'chat-model-limit': () =>
    openaiError(429, 'rate_limit_exceeded', 'Rate limit reached for this model.', null, {
      'retry-after': '30',
      'x-ratelimit-limit-requests': '1',
      'x-ratelimit-remaining-requests': '0',
      'x-ratelimit-reset-requests': '30s',
    }),
  'chat-reasoning': (request) => played(request, { ...text, thoughts: ['Let me', ' think.'] }),
  /** As a router of models does that sign what they thought. */
  'chat-signed': (request) =>
    played(request, { ...toolAnswer(request), thoughts: ['Let me', ' think.'], isSigned: true }),
  'chat-length': (request) => played(request, { texts: ['Cut sho'], finish: 'length' }),
  /** A structured answer that the model would not give: it ends like any other, and has no content. */
  'chat-refusal': (request) =>
    played(request, { refusals: ['I am sorry,', ' I cannot help with that.'], finish: 'stop' }),
  /** A search model's: sources come with the last of the text. */
  'chat-annotations': (request) =>
    played(request, {
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
  'chat-odd-finish': (request) => played(request, { texts: ['Cut sho'], finish: 'model_length' }),
  'chat-filter': (request) => played(request, { texts: ['No.'], finish: 'content_filter' }),
  'chat-tools': (request) => played(request, toolAnswer(request)),
  /** Some servers say that an answer with calls just stopped. */
  'chat-tools-stop': (request) => played(request, { ...toolAnswer(request), finish: 'stop' }),
  'chat-error-in-200': () => (response) => {
    begin(response);
    send(response, {
      error: { message: 'The server had an error.', type: 'server_error', param: null, code: null },
    });
    response.end();
  },
  'chat-error-late': (request) => async (response) => {
    begin(response);
    send(response, chunk(request, { role: 'assistant', content: 'Half' }));
    await taken();
    send(response, {
      error: { message: 'The server had an error.', type: 'server_error', param: null, code: null },
    });
    response.end();
  },
  'chat-429': () => openaiError(429, 'rate_limit_exceeded', 'Slow down.', null, { 'retry-after': '1' }),
  'chat-429-bare': () => openaiError(429, 'rate_limit_exceeded', 'Slow down.'),
  'chat-500': () => openaiFailure('error'),
  'chat-400': () => openaiError(400, 'unsupported_value', "Unsupported value: 'temperature'.", 'temperature'),
  'chat-too-long': () =>
    openaiError(
      400,
      'context_length_exceeded',
      "This model's maximum context length is 8 tokens.",
      'messages',
    ),
  'chat-cut': (request) => async (response) => {
    begin(response);
    send(response, chunk(request, { role: 'assistant', content: 'Half' }));
    await taken();
    response.write('data: {"id":"chatcmpl-up","object":"chat.compl');
    await taken(20);
    response.destroy();
  },
  'chat-cut-early': () => async (response) => {
    begin(response);
    response.write(': processing\n\n');
    await taken(20);
    response.destroy();
  },
  /** Ends well as HTTP goes, and in the middle as answers go. */
  'chat-early-end': (request) => async (response) => {
    begin(response);
    send(response, chunk(request, { role: 'assistant', content: 'Half' }));
    await taken();
    response.end();
  },
  /** Takes a second and a half. */
  'chat-slow': (request) => async (response) => {
    begin(response);
    for (const word of ['One', ' two', ' three']) {
      send(response, chunk(request, { role: 'assistant', content: word }));
      await delay(500);
    }
    end(request, response, 'stop');
  },
  'chat-stall': (request) => (response) => {
    begin(response);
    send(response, chunk(request, { role: 'assistant', content: 'Half' }));
  },
  'chat-malformed': (request) => (response) => {
    begin(response);
    send(response, chunk(request, { role: 'assistant', content: 'Before' }));
    response.write('data: {"id":"chatcmpl-up", oops\n\n');
    send(response, chunk(request, { content: ' after' }));
    end(request, response, 'stop');
  },
  'chat-no-done': (request) => (response) => {
    begin(response);
    send(response, chunk(request, { role: 'assistant', content: 'Whole' }));
    send(response, chunk(request, {}, 'stop'));
    response.end();
  },
  /** Whole, but the connection stays open without the end mark. */
  'chat-open': (request) => (response) => {
    begin(response);
    send(response, chunk(request, { role: 'assistant', content: 'Whole' }));
    send(response, chunk(request, {}, 'stop'));
  },
};

/** Those of every vendor that have no form of their own here. */
const shared = scenarioNames.map((name) => `chat-${name}`).filter((name) => !(name in scenarios));

export const models: readonly string[] = [...Object.keys(scenarios), ...shared];

export function answer({ body, scenario }: Turn): Played | Reply | ByHand {
  const request = body as ChatRequest;
  if (!Array.isArray(request.messages)) {
    return openaiError(
      400,
      'missing_required_parameter',
      "Missing required parameter: 'messages'.",
      'messages',
    );
  }
  if (scenario === 'chat-obedient' && request.logprobs === true) {
    return openaiError(
      400,
      'unsupported_parameter',
      "'logprobs' is not supported with this model.",
      'logprobs',
    );
  }
  const own = scenarios[scenario];
  return own ? own(request) : played(request, sharedAnswer(scenario.slice('chat-'.length), request));
}

/** Some servers tell usage as they go; this one then fails. */
export function abandonedFrames({ body }: Turn): readonly string[] {
  const request = body as ChatRequest;
  const { input, output } = abandonedUsage;
  const told = { prompt_tokens: input, completion_tokens: output, total_tokens: input + output };
  const texts = ['Half of', ' an answer'].map((content) => ({ ...chunk(request, { content }), usage: told }));
  return [chunk(request, { role: 'assistant', content: '' }), ...texts, openaiFailure('error').body].map(
    frame,
  );
}

export function filtered({ body }: Turn): Played {
  return played(body as ChatRequest, { finish: 'content_filter' });
}

function sharedAnswer(name: string, request: ChatRequest): Answer {
  const facts = factsOf(request);
  // It thinks only where it is asked to.
  const isThinking = facts.isThinking && (name !== 'obedient' || request.reasoning_effort !== undefined);
  const { texts, thoughts, calls, finish, everyMs, usage: tokens } = answerOf(name, { ...facts, isThinking });
  const isCalling = calls.length > 0;
  return {
    ...(!isCalling && { texts }),
    ...(thoughts.length > 0 && { thoughts, isSigned: name === 'agent' }),
    calls: calls.map((call) => ({ ...call, id: `call_${call.id}` })),
    finish: isCalling ? 'tool_calls' : finish === 'length' ? 'length' : 'stop',
    ...(everyMs !== undefined && { everyMs }),
    tokens,
  };
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

function played(request: ChatRequest, given: Answer): Played {
  const frames: unknown[] = [];
  const { texts = [], refusals = [], annotations = [], thoughts = [], calls = [] } = given;
  for (const index of choicesOf(request)) {
    const add = (delta: object) => frames.push(chunk(request, delta, null, index));
    add({ role: 'assistant', content: '' });
    for (const thought of thoughts) add({ reasoning_content: thought });
    if (given.isSigned) {
      const signed = { type: 'reasoning.text', text: '', signature: 'c2ln', index: 0 };
      for (const text of thoughts.slice(0, -1)) {
        add({ reasoning_details: [{ ...signed, text, signature: null }] });
      }
      add({ reasoning_details: [{ ...signed, text: thoughts.at(-1) }] });
    }
    for (const piece of texts) add({ content: piece });
    for (const piece of refusals) add({ refusal: piece });
    for (const one of annotations) add({ annotations: [one] });
    for (const [at, call] of calls.entries()) {
      const head = { index: at, id: call.id, type: 'function', function: { name: call.name, arguments: '' } };
      add({ tool_calls: [head] });
    }
    // The pieces of parallel calls may be mixed.
    const rounds = Math.max(0, ...calls.map(({ pieces }) => pieces.length));
    for (let round = 0; round < rounds; round++) {
      for (const [at, { pieces }] of calls.entries()) {
        const piece = pieces[round];
        if (piece !== undefined) add({ tool_calls: [{ index: at, function: { arguments: piece } }] });
      }
    }
    frames.push(chunk(request, {}, given.finish, index));
  }
  return {
    whole: whole(request, given),
    frames: [...frames.map(frame), ...lastFrames(request, usageOf(given))],
    contentAt: 1,
    endFrames: 1,
    contentType,
    everyMs: given.everyMs,
  };
}

function usageOf({ cacheWriteTokens: written, tokens }: Answer) {
  const { prompt_tokens_details: prompt, completion_tokens_details: completion } = usage;
  return {
    ...usage,
    prompt_tokens_details: {
      ...prompt,
      ...(tokens && { cached_tokens: tokens.cacheRead }),
      ...(written !== undefined && { cache_write_tokens: written }),
    },
    completion_tokens_details: { ...completion, ...(tokens && { reasoning_tokens: tokens.thinking }) },
  };
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

export const contentType = 'text/event-stream; charset=utf-8';

function begin(response: ServerResponse): void {
  response.writeHead(200, { 'content-type': contentType });
}

function frame(value: unknown): string {
  return `data: ${JSON.stringify(value)}

`;
}

function send(response: ServerResponse, value: unknown): void {
  response.write(frame(value));
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
  for (const last of lastFrames(request, usage)) response.write(last);
  response.end();
}

function lastFrames(request: ChatRequest, reported: object): string[] {
  const told = request.stream_options?.include_usage
    ? [frame({ ...chunk(request, {}), choices: [], usage: reported })]
    : [];
  return [...told, 'data: [DONE]\n\n'];
}
