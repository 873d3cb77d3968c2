// What OpenAI does in the same way in both of its dialects.
import { soundText } from './scenarios.ts';
import { askedIn, type Failure, type Reply, type SeenRequest } from './vendor.ts';

const failures: Record<
  Failure,
  readonly [status: number, code: string | null, message: string, param?: string]
> = {
  'no-key': [401, 'invalid_api_key', 'You did not provide an API key.'],
  'bad-key': [401, 'invalid_api_key', 'Incorrect API key provided.'],
  'rate-limited': [429, 'rate_limit_exceeded', 'Rate limit reached for requests. Please try again in 2s.'],
  'rate-limited-bare': [429, 'rate_limit_exceeded', 'Rate limit reached for requests.'],
  quota: [
    429,
    'insufficient_quota',
    'You exceeded your current quota, please check your plan and billing details.',
  ],
  error: [500, null, 'The server had an error while processing your request.'],
  unavailable: [503, null, 'The engine is currently overloaded, please try again later.'],
  'too-long': [
    400,
    'context_length_exceeded',
    "Your input exceeds the context window of this model. This model's maximum context length is 8 tokens.",
    'input',
  ],
  prefill: [400, null, 'This model does not support assistant message prefill.', 'messages'],
  'not-json': [400, null, 'We could not parse the JSON body of your request.'],
  'unknown-model': [404, 'model_not_found', 'does not exist or you do not have access to it.', 'model'],
  'unknown-path': [404, 'unknown_url', 'Unknown request URL:'],
};

export function openaiFailure(kind: Failure, detail = ''): Reply {
  const [status, code, message, param = null] = failures[kind];
  const said =
    kind === 'unknown-model'
      ? `The model \`${detail}\` ${message}`
      : kind === 'unknown-path'
        ? `${message} ${detail}.`
        : message;
  const headers: Record<string, string> = kind === 'rate-limited' ? { 'retry-after': '2' } : {};
  return openaiError(status, code, said, param, headers);
}

/** An error in OpenAI's form. */
export function openaiError(
  status: number,
  code: string | null,
  message: string,
  param: string | null = null,
  headers: Readonly<Record<string, string>> = {},
): Reply {
  const type =
    status === 429
      ? code === 'insufficient_quota'
        ? code
        : 'requests'
      : status >= 500
        ? 'server_error'
        : 'invalid_request_error';
  return { status, body: { error: { message, type, param, code } }, headers };
}

/** What both endpoints say of an account's limits. */
export function openaiLimits(): Record<string, string> {
  return {
    'x-request-id': 'req_up',
    'openai-processing-ms': '12',
    'x-ratelimit-limit-requests': '500',
    'x-ratelimit-remaining-requests': '499',
    'x-ratelimit-reset-requests': '120ms',
    'x-ratelimit-limit-tokens': '30000',
    'x-ratelimit-remaining-tokens': '29500',
    'x-ratelimit-reset-tokens': '1m0.5s',
  };
}

export abstract class OpenaiVendor {
  readonly prefix = '/v1';

  keyOf(headers: SeenRequest['headers']): string {
    return String(headers['api-key'] ?? headers.authorization ?? '').replace(/^Bearer /, '');
  }

  other(
    { method }: SeenRequest,
    path: string,
    _url: URL,
    body: unknown,
    models: readonly string[],
  ): Reply | undefined {
    if (method === 'POST' && path === '/completions') return completion(body, models);
    if (method !== 'GET' || path !== '/models') return undefined;
    const data = models.map((id) => ({ id, object: 'model', created: 1_700_000_000, owned_by: 'sandbox' }));
    return { status: 200, body: { object: 'list', data } };
  }

  failure(kind: Failure, _seen: SeenRequest, detail?: string): Reply {
    return openaiFailure(kind, detail);
  }
}

/** The legacy endpoint has one answer. */
function completion(body: unknown, models: readonly string[]): Reply {
  const { model } = askedIn(body);
  if (!models.includes(model)) return openaiFailure('unknown-model', model);
  const choice = { text: soundText, index: 0, logprobs: null, finish_reason: 'stop' };
  const usage = { prompt_tokens: 21, completion_tokens: 7, total_tokens: 28 };
  const created = 1_700_000_000;
  return {
    status: 200,
    body: { id: 'cmpl-up', object: 'text_completion', created, model, choices: [choice], usage },
  };
}
