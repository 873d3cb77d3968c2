// Plays the Gemini API on this machine. The model's name chooses the scenario.
import { type Answer, abandonedUsage, answerOf, scenarioNames, type Usage } from '../vendor/scenarios.ts';
import { type VendorOptions, type VendorSandbox, VendorServer } from '../vendor/server.ts';
import {
  type Failure,
  isReply,
  type Played,
  type Reply,
  type SeenRequest,
  type Turn,
  type Vendor,
} from '../vendor/vendor.ts';
import { refusalOf, signatureFor, textSignature } from './check.ts';
import { embedded, embeddingModel, embedRequests } from './embed.ts';
import { factsOf } from './facts.ts';
import { camelized, countRequest, type GenerateRequest, generateRequest, problemIn } from './request.ts';

/** Beside those of every vendor: `gemini-old` thinks without signatures and takes budgets alone, as models before 3 do. */
const scenarios = [...scenarioNames, 'old'].map((name) => `gemini-${name}`);
const isSigned = (scenario: string) => scenario !== 'gemini-old';

const streamType = 'text/event-stream';
const rpc = (name: string) => `type.googleapis.com/google.rpc.${name}`;

const failures: Record<
  Failure,
  (detail: string) => readonly [code: number, status: string, message: string, details?: readonly object[]]
> = {
  'no-key': () => [
    403,
    'PERMISSION_DENIED',
    "Method doesn't allow unregistered callers (callers without established identity). Please use API Key or other form of API consumer identity to call this API.",
  ],
  // It is a 400, and only its reason says so.
  'bad-key': () => [
    400,
    'INVALID_ARGUMENT',
    'API key not valid. Please pass a valid API key.',
    [{ '@type': rpc('ErrorInfo'), reason: 'API_KEY_INVALID', domain: 'googleapis.com' }],
  ],
  'rate-limited': () => [429, 'RESOURCE_EXHAUSTED', quotaMessage, [quotaFailure('PerMinute'), retryInfo]],
  'rate-limited-bare': () => [429, 'RESOURCE_EXHAUSTED', 'Resource has been exhausted (e.g. check quota).'],
  quota: () => [429, 'RESOURCE_EXHAUSTED', quotaMessage, [quotaFailure('PerDay')]],
  error: () => [
    500,
    'INTERNAL',
    'An internal error has occurred. Please retry or report in https://developers.generativeai.google/guide/troubleshooting',
  ],
  unavailable: () => [503, 'UNAVAILABLE', 'The model is overloaded. Please try again later.'],
  'too-long': () => [
    400,
    'INVALID_ARGUMENT',
    'The input token count (1200293) exceeds the maximum number of tokens allowed (1048576).',
  ],
  prefill: () => [400, 'INVALID_ARGUMENT', 'Please ensure that single turn requests end with a user role.'],
  'not-json': () => [400, 'INVALID_ARGUMENT', 'Invalid JSON payload received. Unexpected token.'],
  'unknown-model': (model) => [
    404,
    'NOT_FOUND',
    `models/${model} is not found for API version v1beta, or is not supported for generateContent. Call ListModels to see the list of available models and their supported methods.`,
  ],
  'unknown-path': () => [404, 'NOT_FOUND', 'Requested entity was not found.'],
};

const quotaMessage =
  'You exceeded your current quota, please check your plan and billing details. For more information on this error, head to: https://ai.google.dev/gemini-api/docs/rate-limits.';
/** When to come again is said here, and in no header. */
const retryInfo = { '@type': rpc('RetryInfo'), retryDelay: '2s' };

function quotaFailure(per: string) {
  const quotaId = `GenerateRequests${per}PerProjectPerModel`;
  const quotaMetric = 'generativelanguage.googleapis.com/generate_content_requests';
  return { '@type': rpc('QuotaFailure'), violations: [{ quotaMetric, quotaId, quotaValue: '10' }] };
}

/** A stream that is an array begins and ends as one. */
function failed(seen: SeenRequest, code: number, body: object): Reply {
  return { status: code, body: isArray(seen) ? [body] : body };
}

function isArray({ path }: SeenRequest): boolean {
  return path.includes(':streamGenerateContent') && !isSse(path);
}

const isSse = (path: string) => new URL(path, 'http://sandbox').searchParams.get('alt') === 'sse';

function refused(seen: SeenRequest, message: string, field?: string): Reply {
  const details =
    field === undefined
      ? undefined
      : [{ '@type': rpc('BadRequest'), fieldViolations: [{ field, description: message }] }];
  return failed(seen, 400, errorBody(400, 'INVALID_ARGUMENT', message, details));
}

function errorBody(code: number, status: string, message: string, details?: readonly object[]) {
  return { error: { code, message, status, ...(details && { details }) } };
}

class Gemini implements Vendor {
  readonly prefix = '';
  readonly scenarios = scenarios;
  readonly malformedFrame = 'data: {"candidates": [{"content": oops\r\n\r\n';

  keyOf(headers: SeenRequest['headers'], url: URL): string {
    return String(headers['x-goog-api-key'] ?? url.searchParams.get('key') ?? '');
  }

  turnOf(_seen: SeenRequest, path: string) {
    const [, model, call] =
      /^\/v1beta\/models\/([^/:]+):(generateContent|streamGenerateContent)$/.exec(path) ?? [];
    return model === undefined ? undefined : { model, isStream: call === 'streamGenerateContent' };
  }

  other(
    seen: SeenRequest,
    path: string,
    url: URL,
    body: unknown,
    models: readonly string[],
  ): Reply | undefined {
    const [, counted] = /^\/v1beta\/models\/([^/:]+):countTokens$/.exec(path) ?? [];
    if (seen.method === 'POST' && counted !== undefined) {
      return models.includes(counted)
        ? countTokens(seen, body)
        : this.failure('unknown-model', seen, counted);
    }
    const [, embedding, call] =
      /^\/v1beta\/models\/([^/:]+):(embedContent|batchEmbedContents)$/.exec(path) ?? [];
    if (seen.method === 'POST' && embedding !== undefined) {
      return embedding === embeddingModel
        ? embed(seen, body, call as keyof typeof embedRequests)
        : this.failure('unknown-model', seen, embedding);
    }
    if (seen.method !== 'GET') return undefined;
    if (path === '/v1beta/models') return { status: 200, body: pageOf([...models, embeddingModel], url) };
    const [, id] = /^\/v1beta\/models\/([^/:]+)$/.exec(path) ?? [];
    if (id === undefined) return undefined;
    return models.includes(id) ? { status: 200, body: asModel(id) } : this.failure('unknown-model', seen, id);
  }

  failure(kind: Failure, seen: SeenRequest, detail = ''): Reply {
    const [code, status, message, details] = failures[kind](detail);
    return failed(seen, code, errorBody(code, status, message, details));
  }

  answer(turn: Turn): Played | Reply {
    return this.#played(turn, {});
  }

  /** The prompt itself is blocked: there is no candidate. */
  filtered(turn: Turn): Played | Reply {
    const request = read(turn);
    if (isReply(request)) return request;
    const feedback = { promptFeedback: { blockReason: 'PROHIBITED_CONTENT', safetyRatings: [] } };
    const usage = { promptTokenCount: 21, totalTokenCount: 21 };
    const whole = { ...feedback, usageMetadata: usage, ...metaOf(turn) };
    return { ...framed(turn, [whole]), whole, contentAt: 0, endFrames: 0 };
  }

  abandoned(turn: Turn) {
    const usage = usageOf(abandonedUsage);
    const chunks = ['Half of', ' an answer'].map((text) => chunk(turn, [{ text }], usage));
    const error = errorBody(503, 'UNAVAILABLE', 'The model is overloaded. Please try again later.');
    return framed(turn, [...chunks, error]);
  }

  isPrefilled({ body }: Turn): boolean {
    const { contents } = body as { readonly contents?: readonly { readonly role?: string }[] };
    return contents?.at(-1)?.role === 'model';
  }

  #played(turn: Turn, more: Partial<Answer>): Played | Reply {
    const request = read(turn);
    if (isReply(request)) return request;
    const name = turn.scenario.slice('gemini-'.length);
    const facts = factsOf(request);
    // It thinks where it is asked to show it: the newest models cannot be told to think nothing.
    const shows = request.generationConfig?.thinkingConfig?.includeThoughts === true;
    const isThinking = facts.isThinking && (name !== 'obedient' || shows);
    const answer = answerOf(name === 'old' ? 'thinking' : name, { ...facts, isThinking }, more);
    return playedAnswer(turn, answer, request);
  }
}

/** The request, or why it is refused. */
function read(turn: Turn): GenerateRequest | Reply {
  const parsed = generateRequest.safeParse(camelized(turn.body));
  if (!parsed.success) {
    const { message, field } = problemIn(parsed.error);
    return refused(turn.seen, message, field);
  }
  const problem = refusalOf(parsed.data, isSigned(turn.scenario));
  return problem === undefined ? parsed.data : refused(turn.seen, problem);
}

/** As events where `alt=sse` asks for them, else as one JSON array that grows. */
function framed({ seen }: Turn, chunks: readonly object[]) {
  if (!isArray(seen)) {
    const frames = chunks.map((one) => `data: ${JSON.stringify(one)}\r\n\r\n`);
    return { frames, contentType: streamType };
  }
  const frames = chunks.map((one, index) => `${index === 0 ? '[' : ',\r\n'}${JSON.stringify(one, null, 2)}`);
  return { frames: [...frames, '\n]'], contentType: 'application/json; charset=UTF-8' };
}

const finishReasons: Record<Answer['finish'], string> = {
  stop: 'STOP',
  length: 'MAX_TOKENS',
  'stop-sequence': 'STOP',
  calls: 'STOP',
  filter: 'SAFETY',
};

function playedAnswer(turn: Turn, answer: Answer, request: GenerateRequest): Played {
  const { thoughts, texts, calls, usage, refusal } = answer;
  const shows = request.generationConfig?.thinkingConfig?.includeThoughts === true;
  const told = usageOf(usage);
  const signed = isSigned(turn.scenario);
  const finishReason = refusal ? 'PROHIBITED_CONTENT' : finishReasons[answer.finish];
  const partial = { ...told, candidatesTokenCount: 1, totalTokenCount: told.promptTokenCount + 1 };
  const callParts = calls.map(({ id, name, pieces }, index) => {
    const args = JSON.parse(pieces.join('')) as unknown;
    const functionCall = { id: `call_${id}`, name, args };
    // Of parallel calls the first alone is signed.
    return { functionCall, ...(signed && index === 0 && { thoughtSignature: signatureFor({ name, args }) }) };
  });
  const thoughtParts = shows ? thoughts.map((text) => ({ text, thought: true })) : [];
  const end = { finishReason, index: 0 };
  const signature = signed && thoughts.length > 0 ? [{ text: '', thoughtSignature: textSignature }] : [];
  const textParts = calls.length > 0 ? [] : texts.map((text) => ({ text }));
  const chunks = [...thoughtParts, ...textParts].map((part) => chunk(turn, [part], partial));
  chunks.push(
    chunk(
      turn,
      callParts.length > 0 ? callParts : signature.length > 0 ? signature : [{ text: '' }],
      told,
      end,
    ),
  );

  const text =
    textParts.length > 0
      ? [{ text: texts.join(''), ...(signature[0] && { thoughtSignature: textSignature }) }]
      : [];
  const thought = thoughtParts.length > 0 ? [{ text: thoughts.join(''), thought: true }] : [];
  return {
    ...framed(turn, chunks),
    whole: chunk(turn, [...thought, ...text, ...callParts], told, end),
    contentAt: 0,
    endFrames: 0,
    everyMs: answer.everyMs,
  };
}

function chunk(turn: Turn, parts: readonly object[], usageMetadata: object, end: object = { index: 0 }) {
  return { candidates: [{ content: { parts, role: 'model' }, ...end }], usageMetadata, ...metaOf(turn) };
}

const metaOf = ({ model }: Turn) => ({ modelVersion: `${model}-2026`, responseId: 'resp-up' });

/** Thoughts are not among the candidate's tokens. */
function usageOf({ input, cacheRead, output, thinking }: Usage) {
  return {
    promptTokenCount: input,
    candidatesTokenCount: output - thinking,
    totalTokenCount: input + output,
    promptTokensDetails: [{ modality: 'TEXT', tokenCount: input }],
    ...(cacheRead > 0 && { cachedContentTokenCount: cacheRead }),
    ...(thinking > 0 && { thoughtsTokenCount: thinking }),
  };
}

function countTokens(seen: SeenRequest, body: unknown): Reply {
  const parsed = countRequest.safeParse(camelized(body));
  if (!parsed.success) {
    const { message, field } = problemIn(parsed.error);
    return refused(seen, message, field);
  }
  const { contents, generateContentRequest: request } = parsed.data;
  if (contents === undefined && request === undefined) {
    return refused(seen, '* CountTokensRequest.contents: contents is not specified\n');
  }
  const counted = request ? [request.systemInstruction, request.tools, request.contents] : contents;
  const totalTokens = Math.ceil(JSON.stringify(counted).length / 4);
  return {
    status: 200,
    body: { totalTokens, promptTokensDetails: [{ modality: 'TEXT', tokenCount: totalTokens }] },
  };
}

function embed(seen: SeenRequest, body: unknown, call: keyof typeof embedRequests): Reply {
  const parsed = embedRequests[call].safeParse(camelized(body));
  if (!parsed.success) {
    const { message, field } = problemIn(parsed.error);
    return refused(seen, message, field);
  }
  const answer = embedded(parsed.data, embeddingModel);
  return typeof answer === 'string' ? refused(seen, answer) : { status: 200, body: answer };
}

function pageOf(models: readonly string[], url: URL) {
  const size = Number(url.searchParams.get('pageSize') ?? 50);
  const from = Number(url.searchParams.get('pageToken') ?? 0);
  const next = from + size;
  return {
    models: models.slice(from, next).map(asModel),
    ...(next < models.length && { nextPageToken: String(next) }),
  };
}

function asModel(id: string) {
  return {
    name: `models/${id}`,
    version: '001',
    displayName: id,
    description: 'A simulated model.',
    inputTokenLimit: 1_048_576,
    outputTokenLimit: 65_536,
    supportedGenerationMethods:
      id === embeddingModel
        ? ['embedContent', 'countTextTokens', 'countTokens', 'asyncBatchEmbedContent']
        : ['generateContent', 'countTokens'],
    temperature: 1,
    topP: 0.95,
    topK: 64,
    thinking: true,
  };
}

/** The base URL has no prefix of its own: paths begin with `/v1beta`. */
export function startGeminiSandbox(options: VendorOptions = {}): Promise<VendorSandbox> {
  return VendorServer.start(new Gemini(), options);
}
