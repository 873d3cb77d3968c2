import type { AppError } from '../../core/errors.ts';
import type { AnswerIdentity } from '../../core/protocol.ts';
import type { Citation, FinishReason, ProviderMetadata, ReasoningProof, Usage } from '../../core/turn.ts';
import type { OfferedTools } from './offered-tools.ts';
import { carriedReasoning } from './reasoning-items.ts';
import type { ClientCall, RawItem, ResponsesRequest } from './schema.ts';

export interface ResponsesOptions {
  readonly includeUsage: true;
  /** The answer is the upstream's own; of the request nothing but the model is known. */
  readonly isRelayed?: true;
  /** The request, for what an answer repeats of it. */
  readonly asked: ResponsesRequest;
  readonly tools: OfferedTools;
  /** The input of this request as items. */
  readonly input: readonly RawItem[];
  /** The answer is a summary of the conversation, as one item; `rules` are what the conversation holds of them. */
  readonly compaction?: { readonly rules: readonly string[]; readonly opaque: Opaque };
  /** Where the client wants reasoning in a form it can send back without reading it. */
  readonly seal?: (text: string) => string;
}

/** What only this gateway can read again, bound to the client key it was made for. */
export interface Opaque {
  seal(text: string): string;
  /** Undefined when it was sealed elsewhere, for another key, or was changed. */
  open(sealed: string): string | undefined;
}

export type ItemStatus = 'in_progress' | 'completed' | 'incomplete';

export interface OutputItem {
  readonly id: string;
  readonly type:
    | 'message'
    | 'reasoning'
    | 'function_call'
    | 'custom_tool_call'
    | 'tool_search_call'
    | 'compaction'
    | ClientCall['type'];
  readonly status?: ItemStatus;
  readonly [field: string]: unknown;
}

export type ResponseStatus = 'queued' | 'in_progress' | 'completed' | 'incomplete' | 'failed' | 'cancelled';

/** How a response ends that was not broken off. */
export function endOf(reason: FinishReason): {
  readonly status: 'completed' | 'incomplete';
  readonly incomplete: 'max_output_tokens' | 'content_filter' | undefined;
} {
  if (reason === 'length') return { status: 'incomplete', incomplete: 'max_output_tokens' };
  if (reason === 'content-filter') return { status: 'incomplete', incomplete: 'content_filter' };
  return { status: 'completed', incomplete: undefined };
}

/** An error as a failed response tells it; there every one has a code. */
function responseError(error: AppError): { code: string; message: string } {
  const code = error.openaiCode ?? (error.status < 500 ? 'invalid_prompt' : 'server_error');
  return { code, message: error.message };
}

/** The same in the event that a broken stream ends with. */
export function eventError(error: AppError) {
  return { type: error.openaiType, ...responseError(error), param: error.param ?? null };
}

/** A response object: what the specification wants in every one, most of it repeated from the request. */
export function responseObject(
  identity: AnswerIdentity,
  { asked }: ResponsesOptions,
  now: {
    readonly status: ResponseStatus;
    readonly output: readonly OutputItem[];
    readonly usage: Usage | undefined;
    readonly metadata?: ProviderMetadata | undefined;
    readonly error?: AppError | undefined;
    readonly reason?: FinishReason | undefined;
  },
): Record<string, unknown> {
  const { status, output, usage, metadata, error, reason } = now;
  const incomplete = reason && endOf(reason).incomplete;
  return {
    id: identity.id,
    object: 'response',
    created_at: identity.created,
    completed_at:
      status === 'completed' ? Math.max(identity.created, Math.floor(identity.now() / 1000)) : null,
    status,
    background: asked.background ?? false,
    error: error ? responseError(error) : null,
    incomplete_details: incomplete ? { reason: incomplete } : null,
    instructions: asked.instructions ?? null,
    max_output_tokens: asked.max_output_tokens ?? null,
    max_tool_calls: asked.max_tool_calls ?? null,
    model: identity.model,
    output,
    parallel_tool_calls: asked.parallel_tool_calls ?? true,
    previous_response_id: asked.previous_response_id ?? null,
    prompt_cache_key: asked.prompt_cache_key ?? null,
    reasoning: { effort: asked.reasoning?.effort ?? null, summary: asked.reasoning?.summary ?? null },
    safety_identifier: asked.safety_identifier ?? null,
    service_tier: metadata?.['openai']?.['service_tier'] ?? 'default',
    store: asked.store ?? true,
    temperature: asked.temperature ?? 1,
    text: {
      format: asked.text?.format ?? { type: 'text' },
      ...(asked.text?.verbosity ? { verbosity: asked.text.verbosity } : {}),
    },
    tool_choice: asked.tool_choice ?? 'auto',
    tools: (asked.tools ?? []).map((tool) =>
      tool.type === 'function' ? { description: null, parameters: null, strict: null, ...tool } : tool,
    ),
    top_logprobs: 0,
    top_p: asked.top_p ?? 1,
    presence_penalty: asked.presence_penalty ?? 0,
    frequency_penalty: asked.frequency_penalty ?? 0,
    truncation: asked.truncation ?? 'disabled',
    // Not known before the end; a failed answer has what the upstream reported.
    usage: status === 'completed' || status === 'incomplete' || usage ? encodeUsage(usage) : null,
    user: asked.user ?? null,
    metadata: asked.metadata ?? {},
  };
}

export function encodeUsage(usage: Usage | undefined) {
  const input = usage?.inputTokens ?? 0;
  const output = usage?.outputTokens ?? 0;
  return {
    input_tokens: input,
    input_tokens_details: {
      cached_tokens: usage?.cachedInputTokens ?? 0,
      cache_write_tokens: usage?.cacheWriteTokens ?? 0,
    },
    output_tokens: output,
    output_tokens_details: { reasoning_tokens: usage?.reasoningTokens ?? 0 },
    total_tokens: input + output,
  };
}

/** An item's id, made from the response's: the same for the same place, and never empty. */
export function itemId(
  prefix: 'msg' | 'rs' | 'fc' | 'ctc' | 'tsc' | 'lsh' | 'sh' | 'apc' | 'cu' | 'cmp',
  identity: Pick<AnswerIdentity, 'id'>,
  index: number,
): string {
  return `${prefix}_${identity.id.replace(/^resp_/, '')}${index}`;
}

/** A part of a message, or what is shown of reasoning. */
export type ContentPart =
  | {
      readonly type: 'output_text';
      text: string;
      readonly annotations: object[];
      readonly logprobs: readonly never[];
    }
  | { readonly type: 'refusal'; refusal: string }
  | { readonly type: 'summary_text'; text: string };

export function emptyPart(type: ContentPart['type']): ContentPart {
  if (type === 'refusal') return { type, refusal: '' };
  return type === 'summary_text' ? { type, text: '' } : { type, text: '', annotations: [], logprobs: [] };
}

export function textOf(part: ContentPart): string {
  return part.type === 'refusal' ? part.refusal : part.text;
}

export function encodeCitation({ url, title = url, start = 0, end = 0 }: Citation): object {
  return { type: 'url_citation', url, title, start_index: start, end_index: end };
}

export function messageItem(id: string, status: ItemStatus, content: readonly ContentPart[]): OutputItem {
  return { id, type: 'message', status, role: 'assistant', content };
}

export function reasoningItem(
  id: string,
  status: ItemStatus,
  text: string | undefined,
  seal: ((text: string) => string) | undefined,
  proof: ReasoningProof | undefined,
): OutputItem {
  return {
    id,
    type: 'reasoning',
    status,
    summary: text === undefined ? [] : [{ type: 'summary_text', text }],
    ...(text === undefined || seal === undefined
      ? {}
      : { encrypted_content: seal(carriedReasoning(text, proof)) }),
  };
}
