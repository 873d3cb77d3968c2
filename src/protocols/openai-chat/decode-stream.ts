import { AppError } from '../../core/errors.ts';
import type { TurnDecoder } from '../../core/protocol.ts';
import type { FinishReason, Usage } from '../../core/turn.ts';
import { isJsonObject, type JsonObject, parseJsonObject } from '../../lib/parse-json.ts';
import { AnswerStream } from '../shared/answer-stream.ts';
import { noEnd } from '../shared/failed-answer.ts';
import { classifyNamed, errorIn } from './classify-failure.ts';
import { ReasoningDetails } from './reasoning-details.ts';

const finishReasons: Readonly<Record<string, FinishReason>> = {
  stop: 'stop',
  length: 'length',
  // Mistral's and others' words for the same.
  model_length: 'length',
  max_tokens: 'length',
  tool_calls: 'tool-calls',
  function_call: 'tool-calls',
  content_filter: 'content-filter',
  sensitive: 'content-filter',
};

/** Said of an answer that broke off at the vendor: OpenRouter and Mistral, DeepSeek, vLLM and SGLang, Zhipu. */
const failedReasons: ReadonlySet<string> = new Set([
  'error',
  'insufficient_system_resource',
  'abort',
  'network_error',
]);

/** Why a choice ended; undefined while it goes on. An error: it did not end well. */
export function finishOf({ finish_reason: given }: JsonObject): FinishReason | AppError | undefined {
  if (typeof given !== 'string' || given === '') return undefined;
  return failedReasons.has(given) ? brokenOff() : (finishReasons[given] ?? 'stop');
}

interface OpenCall {
  /** Where the upstream's fragments say they belong. */
  readonly key: number;
  /** As the upstream named it. */
  readonly id: string;
  /** Undefined until its name has come. */
  index: number | undefined;
  /** What came of it before its name. */
  early: string;
}

/** Reads a streamed answer for a client of another dialect. */
export function createDecoder(): TurnDecoder {
  const calls: OpenCall[] = [];
  const ids = new Set<string>();
  let begunCalls = 0;
  let isStarted = false;
  let reason: FinishReason | undefined;
  let hasUsage = false;
  let details: ReasoningDetails | undefined;

  const answer = new AnswerStream(read);
  const text = new TextDecoder();

  function read(data: string): void {
    if (data.trim() === '[DONE]') {
      finish();
      return;
    }
    // A malformed chunk within a sound stream is passed over.
    const chunk = parseJsonObject(data);
    if (!chunk) return;
    const error = errorIn(chunk);
    if (error) {
      answer.fail(classifyNamed(error));
      return;
    }
    if (!isStarted) {
      isStarted = true;
      const { id } = chunk;
      answer.add({ type: 'start', ...(typeof id === 'string' && id !== '' && { upstreamRequestId: id }) });
    }
    readChoice(firstOf(chunk['choices']));
    if (answer.isOver) return;
    const usage = readUsage(chunk['usage']);
    if (usage) {
      hasUsage = true;
      answer.add({ type: 'usage', usage });
    }
    // Usage comes last; some servers keep the connection open without saying that they are done.
    if (reason !== undefined && hasUsage) finish();
  }

  function readChoice(choice: JsonObject | undefined): void {
    const delta = choice?.['delta'] ?? choice?.['message'];
    if (isJsonObject(delta)) readDelta(delta);
    const finished = choice && finishOf(choice);
    if (finished instanceof AppError) answer.fail(finished);
    else if (finished !== undefined) reason = finished;
  }

  function readDelta(delta: JsonObject): void {
    if (delta['reasoning_details'] !== undefined) {
      details ??= new ReasoningDetails();
      details.add(delta['reasoning_details']);
    }
    const { said, thought } = readContent(delta['content']);
    const reasoning = textIn(delta['reasoning_content']) || textIn(delta['reasoning']) || thought;
    if (reasoning) answer.add({ type: 'reasoning-delta', text: reasoning });
    const text = said || textIn(delta['refusal']);
    if (text) {
      prove();
      answer.add({ type: 'text-delta', text });
    }
    const fragments = delta['tool_calls'];
    if (Array.isArray(fragments))
      for (const fragment of fragments) if (isJsonObject(fragment)) readCall(fragment);
  }

  function readCall(fragment: JsonObject): void {
    const { function: called } = fragment;
    const { name: givenName, arguments: given } = isJsonObject(called) ? called : {};
    const name = textIn(givenName);
    const call = callOf(fragment['index'], textIn(fragment['id']), name);
    const piece = isJsonObject(given) ? JSON.stringify(given) : textIn(given);
    if (call.index === undefined) {
      call.early += piece;
      if (name !== '') begin(call, name);
    } else if (piece !== '') answer.add({ type: 'tool-call-delta', index: call.index, arguments: piece });
  }

  /**
   * The call a fragment belongs to. Servers that send whole calls may leave the index out, or the id, or give every call the same
   * index.
   */
  function callOf(index: unknown, id: string, name: string): OpenCall {
    const key = typeof index === 'number' ? index : undefined;
    const known =
      key !== undefined ? calls.findLast((call) => call.key === key) : name === '' ? calls.at(-1) : undefined;
    const isAnother = known !== undefined && name !== '' && id !== '' && known.id !== '' && id !== known.id;
    if (known && !isAnother) return known;
    const call = { key: key ?? calls.length, id, index: undefined, early: '' };
    calls.push(call);
    return call;
  }

  /** The reasoning before is whole. */
  function prove(): void {
    const proof = details?.proof;
    if (proof) answer.add({ type: 'reasoning-proof', proof });
    details = undefined;
  }

  /** The call's id is the upstream's, unless it gave none or one that another call has. */
  function begin(call: OpenCall, name: string): void {
    prove();
    const isOwn = call.id !== '' && !ids.has(call.id);
    const id = isOwn ? call.id : `call_${crypto.randomUUID().replaceAll('-', '')}`;
    ids.add(id);
    call.index = begunCalls;
    begunCalls += 1;
    answer.add({ type: 'tool-call-start', index: call.index, id, name });
    if (call.early !== '') answer.add({ type: 'tool-call-delta', index: call.index, arguments: call.early });
    call.early = '';
  }

  /** Without a reason nothing says that the answer is whole; arguments without a name cannot be run. */
  function finish(): void {
    if (reason === undefined || calls.some(({ early }) => early !== '')) {
      answer.fail(noEnd());
      return;
    }
    prove();
    for (let index = 0; index < begunCalls; index += 1) answer.add({ type: 'tool-call-end', index });
    // Many servers say `stop` of an answer that calls.
    const isCall = reason === 'stop' || reason === 'tool-calls';
    const ended = begunCalls > 0 ? 'tool-calls' : 'stop';
    answer.add({ type: 'finish', reason: isCall ? ended : reason });
  }

  return {
    push(bytes) {
      if (!answer.isOver) answer.feed(text.decode(bytes, { stream: true }), bytes.length);
      return answer.take();
    },
    end() {
      // The last event may lack its blank line.
      if (!answer.isOver) answer.feed('\n\n', 0);
      if (!answer.isOver) finish();
      return answer.take();
    },
    memory: () => undefined,
  };
}

function firstOf(value: unknown): JsonObject | undefined {
  const first = Array.isArray(value) ? value[0] : undefined;
  return isJsonObject(first) ? first : undefined;
}

function textIn(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

/** Text, or Mistral's list of parts. */
function readContent(content: unknown): { readonly said: string; readonly thought: string } {
  if (!Array.isArray(content)) return { said: textIn(content), thought: '' };
  const parts = content.filter(isJsonObject);
  return {
    said: parts.map(({ type, text }) => (type === 'text' ? textIn(text) : '')).join(''),
    thought: parts
      .map(({ type, thinking }) => (type === 'thinking' ? readContent(thinking).said : ''))
      .join(''),
  };
}

function brokenOff(): AppError {
  return new AppError('upstream_unavailable', 'The upstream broke its answer off. Try again.');
}

/** The figures of an answer; undefined where there are none that can be read. */
export function readUsage(value: unknown): Usage | undefined {
  // Most chunks of a stream have none.
  if (!isJsonObject(value)) return undefined;
  const inputTokens = countIn(value, 'prompt_tokens');
  if (inputTokens === undefined) return undefined;
  const cached =
    countIn(value['prompt_tokens_details'], 'cached_tokens') ??
    // DeepSeek's place for what its cache had.
    countIn(value, 'prompt_cache_hit_tokens');
  const reasoning = countIn(value['completion_tokens_details'], 'reasoning_tokens');
  // OpenRouter's, in US dollars.
  const { cost } = value;
  return {
    inputTokens,
    outputTokens: countIn(value, 'completion_tokens') ?? 0,
    ...(cached === undefined ? {} : { cachedInputTokens: cached }),
    ...(reasoning === undefined ? {} : { reasoningTokens: reasoning }),
    ...(typeof cost === 'number' && cost >= 0 ? { costCents: cost * 100 } : {}),
  };
}

function countIn(value: unknown, name: string): number | undefined {
  const count = isJsonObject(value) ? value[name] : undefined;
  return typeof count === 'number' && Number.isSafeInteger(count) && count >= 0 ? count : undefined;
}
