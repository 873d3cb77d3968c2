// An answer in the form of OpenAI's Responses, whole and as a stream.
import { type Answer, abandonedUsage, type Usage } from '../vendor/scenarios.ts';
import type { Played } from '../vendor/vendor.ts';
import { encryptedFor } from './check.ts';
import type { ResponsesRequest } from './request.ts';

export const streamType = 'text/event-stream; charset=utf-8';

export interface Shown {
  readonly model: string;
  /** Behind the prefixes of all ids. */
  readonly id: string;
  readonly request: ResponsesRequest;
}

/** A stream numbers its events. */
class Frames {
  readonly #frames: string[] = [];

  add(type: string, fields: object): void {
    const event = { type, ...fields, sequence_number: this.#frames.length };
    this.#frames.push(`event: ${type}\ndata: ${JSON.stringify(event)}\n\n`);
  }

  get all(): readonly string[] {
    return this.#frames;
  }
}

type Sent = Record<string, unknown> & { readonly id: string; readonly type: string };

export function playedAnswer(answer: Answer, shown: Shown, headers: Record<string, string>): Played {
  const { finish, usage } = answer;
  const items = itemsOf(answer, shown);
  const isCut = finish === 'length' || finish === 'filter';
  const reason = finish === 'filter' ? 'content_filter' : 'max_output_tokens';
  const whole = {
    ...responseOf(shown),
    status: isCut ? 'incomplete' : 'completed',
    completed_at: isCut ? null : 1_700_000_001,
    incomplete_details: isCut ? { reason } : null,
    output: items,
    usage: usageOf(usage),
  };
  const frames = begun(shown);
  for (const [index, item] of items.entries()) addItem(frames, index, item, answer);
  frames.add(isCut ? 'response.incomplete' : 'response.completed', { response: whole });
  const first = frames.all.findIndex((frame) => /\.delta"/.test(frame));
  return {
    whole,
    frames: frames.all,
    contentAt: Math.max(2, first),
    endFrames: 1,
    contentType: streamType,
    headers,
    everyMs: answer.everyMs,
  };
}

/** Half an answer, then the response that failed with its usage. */
export function abandonedFrames(shown: Shown): readonly string[] {
  const frames = begun(shown);
  const item = { id: `msg_${shown.id}`, type: 'message', role: 'assistant' };
  const at = { item_id: item.id, output_index: 0, content_index: 0 };
  frames.add('response.output_item.added', {
    output_index: 0,
    item: { ...item, status: 'in_progress', content: [] },
  });
  frames.add('response.content_part.added', {
    ...at,
    part: { type: 'output_text', text: '', annotations: [] },
  });
  for (const delta of ['Half of', ' an answer']) frames.add('response.output_text.delta', { ...at, delta });
  const error = { code: 'server_error', message: 'The server had an error while processing your request.' };
  const response = { ...responseOf(shown), status: 'failed', error, usage: usageOf(abandonedUsage) };
  frames.add('response.failed', { response });
  return frames.all;
}

function begun(shown: Shown): Frames {
  const frames = new Frames();
  const response = { ...responseOf(shown), status: 'in_progress' };
  frames.add('response.created', { response });
  frames.add('response.in_progress', { response });
  return frames;
}

/** What the request said comes back in the answer. */
function responseOf({ model, id, request }: Shown) {
  return {
    id: `resp_${id}`,
    object: 'response',
    created_at: 1_700_000_000,
    status: 'completed',
    background: false,
    error: null,
    incomplete_details: null,
    instructions: request.instructions ?? null,
    max_output_tokens: request.max_output_tokens ?? null,
    metadata: request.metadata ?? {},
    model: `${model}-2026`,
    output: [] as readonly object[],
    parallel_tool_calls: request.parallel_tool_calls ?? true,
    previous_response_id: request.previous_response_id ?? null,
    prompt_cache_key: request.prompt_cache_key ?? null,
    reasoning: { effort: request.reasoning?.effort ?? null, summary: request.reasoning?.summary ?? null },
    service_tier: 'default',
    store: request.store ?? true,
    temperature: request.temperature ?? 1,
    text: { format: request.text?.format ?? { type: 'text' }, verbosity: 'medium' },
    tool_choice: request.tool_choice ?? 'auto',
    tools: request.tools ?? [],
    top_p: request.top_p ?? 1,
    truncation: request.truncation ?? 'disabled',
    usage: null as object | null,
    user: null,
  };
}

function usageOf({ input, cacheRead, cacheWrite, output, thinking }: Usage) {
  return {
    input_tokens: input,
    input_tokens_details: { cached_tokens: cacheRead, cache_write_tokens: cacheWrite },
    output_tokens: output,
    output_tokens_details: { reasoning_tokens: thinking },
    total_tokens: input + output,
  };
}

function itemsOf({ thoughts, texts, refusal, calls, finish }: Answer, { id, request }: Shown): Sent[] {
  const items: Sent[] = [];
  const isThinking = thoughts.length > 0;
  // A call that was thought of is bound to its thoughts by its id.
  const link = isThinking ? `r${id}` : id;
  if (isThinking) {
    const shows = Boolean(request.reasoning?.summary);
    const isSealed = request.include?.includes('reasoning.encrypted_content');
    items.push({
      id: `rs_${link}`,
      type: 'reasoning',
      summary: shows ? [{ type: 'summary_text', text: thoughts.join('') }] : [],
      ...(isSealed && { encrypted_content: encryptedFor(`rs_${link}`) }),
    });
  }
  if (calls.length === 0) {
    const text = texts.join('');
    const part = refusal
      ? { type: 'refusal', refusal: text }
      : { type: 'output_text', text, annotations: [], logprobs: [] };
    const status = finish === 'length' || finish === 'filter' ? 'incomplete' : 'completed';
    items.push({ id: `msg_${link}`, type: 'message', status, role: 'assistant', content: [part] });
  }
  for (const [index, call] of calls.entries()) {
    items.push({
      id: `fc_${link}_${index + 1}`,
      type: 'function_call',
      status: 'completed',
      call_id: `call_${call.id}`,
      name: call.name,
      arguments: call.pieces.join(''),
    });
  }
  return items;
}

function addItem(frames: Frames, index: number, item: Sent, answer: Answer): void {
  const at = { item_id: item.id, output_index: index };
  const bare = { ...item, ...('status' in item && { status: 'in_progress' }) };
  if (item.type === 'reasoning') {
    frames.add('response.output_item.added', { output_index: index, item: { ...bare, summary: [] } });
    if ((item['summary'] as readonly object[]).length > 0) addSummary(frames, at, answer.thoughts);
  } else if (item.type === 'message') {
    frames.add('response.output_item.added', { output_index: index, item: { ...bare, content: [] } });
    addText(frames, at, answer);
  } else {
    const call = answer.calls.find(({ id }) => `call_${id}` === item['call_id']);
    frames.add('response.output_item.added', { output_index: index, item: { ...bare, arguments: '' } });
    for (const delta of call?.pieces ?? [])
      frames.add('response.function_call_arguments.delta', { ...at, delta });
    frames.add('response.function_call_arguments.done', { ...at, arguments: item['arguments'] });
  }
  frames.add('response.output_item.done', { output_index: index, item });
}

function addSummary(frames: Frames, at: object, thoughts: readonly string[]): void {
  const place = { ...at, summary_index: 0 };
  const text = thoughts.join('');
  frames.add('response.reasoning_summary_part.added', { ...place, part: { type: 'summary_text', text: '' } });
  for (const delta of thoughts) frames.add('response.reasoning_summary_text.delta', { ...place, delta });
  frames.add('response.reasoning_summary_text.done', { ...place, text });
  frames.add('response.reasoning_summary_part.done', { ...place, part: { type: 'summary_text', text } });
}

function addText(frames: Frames, at: object, { texts, refusal }: Answer): void {
  const place = { ...at, content_index: 0 };
  const text = texts.join('');
  const part = (said: string) =>
    refusal
      ? { type: 'refusal', refusal: said }
      : { type: 'output_text', text: said, annotations: [], logprobs: [] };
  const kind = refusal ? 'refusal' : 'output_text';
  const more = refusal ? {} : { logprobs: [] };
  frames.add('response.content_part.added', { ...place, part: part('') });
  for (const delta of texts) frames.add(`response.${kind}.delta`, { ...place, delta, ...more });
  frames.add(`response.${kind}.done`, { ...place, [refusal ? 'refusal' : 'text']: text, ...more });
  frames.add('response.content_part.done', { ...place, part: part(text) });
}
