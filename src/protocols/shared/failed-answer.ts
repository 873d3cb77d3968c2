import { AppError, type AppErrorOptions, type ErrorCode, type SendAgain } from '../../core/errors.ts';
import type { Dialect, FailedResponse } from '../../core/protocol.ts';
import { isJsonObject, type JsonObject, parseJson, parseJsonObject } from '../../lib/parse-json.ts';
import { beginningOf } from '../../lib/shown-text.ts';
import { mostOutputIn } from './told-limits.ts';

/** One event may be this long, and one whole answer that long. */
export const maxEventBytes = 32 * 1024 * 1024;
export const maxAnswerBytes = 256 * 1024 * 1024;
/** More than any model asks for together, and than a client can handle. */
export const mostCalls = 1_000;

export interface FailedAnswer {
  /** `page`: HTML, which no API answers with. */
  readonly form: 'json' | 'page' | 'text';
  /** The error text of its JSON; undefined where there is none. */
  readonly words: string | undefined;
  readonly text: string;
}

/** Reads the body of a failed response, by its content rather than by its media type. */
export function readFailedAnswer({ headers, body }: Pick<FailedResponse, 'headers' | 'body'>): FailedAnswer {
  const text = Buffer.from(body).toString('utf8');
  const type = String(headers['content-type'] ?? '').toLowerCase();
  const isMarkup = /^\s*(<!doctype|<html|<head|<body|<\?xml)/i.test(text.replace(/^\ufeff/, ''));
  const value = isMarkup ? undefined : parseJsonObject(text);
  if (value) return { form: 'json', words: wordsOf(value), text };
  const isPage = isMarkup || type.includes('html');
  return { form: isPage ? 'page' : 'text', words: undefined, text };
}

/** How much of a failure goes to the log. */
const maxEvidence = 2_000;

/** A failed response, and what an error about it says beside its code. */
export function readFailure(response: FailedResponse, retryAfterMs: number | undefined) {
  const answer = readFailedAnswer(response);
  const cause = new Error(`status ${response.status}: ${beginningOf(answer.text, maxEvidence)}`);
  return { answer, cause, options: { cause, ...(retryAfterMs !== undefined && { retryAfterMs }) } };
}

/** Vendors take keys and bearers; a login of another scheme is that of a proxy or a wall in front of them. */
export function asksForProxyLogin({ headers }: Pick<FailedResponse, 'headers'>): boolean {
  return /^\s*(basic|digest|ntlm|negotiate)\b/i.test(String(headers['www-authenticate'] ?? ''));
}

/** Whether something between here and the vendor answered. Limits are met there as well, and say the same. */
export function isOfTheWay(response: FailedResponse, form: FailedAnswer['form']): boolean {
  const { status } = response;
  return form === 'page' ? status !== 429 && status !== 413 : form === 'text' && asksForProxyLogin(response);
}

/** For the log: an error object that came within an answer. */
export function evidenceOf(error: object): Error {
  return new Error(beginningOf(JSON.stringify(error), maxEvidence));
}

/** An error object of a dialect of OpenAI's or Anthropic's. */
export interface NamedError {
  readonly message?: string | undefined;
  readonly type?: string | undefined;
  readonly code?: string | number | undefined;
  readonly param?: string | undefined;
}

/** The error object in a body or a chunk, or one that is an error itself, as vLLM's are; undefined where there is none. */
export function errorIn(value: JsonObject | undefined): NamedError | undefined {
  const error = value?.['object'] === 'error' ? value : value?.['error'];
  if (typeof error === 'string') return { message: error };
  if (!isJsonObject(error)) return undefined;
  const { message, type, code, param, metadata } = error;
  return {
    message: typeof message === 'string' ? message + saidBehind(metadata) : undefined,
    type: typeof type === 'string' ? type : undefined,
    code: typeof code === 'string' || typeof code === 'number' ? code : undefined,
    param: typeof param === 'string' ? param : undefined,
  };
}

/** OpenRouter's words are the same for whatever a vendor behind it says; what that was stands beside them. */
function saidBehind(metadata: unknown): string {
  const raw = isJsonObject(metadata) ? metadata['raw'] : undefined;
  if (typeof raw !== 'string' || raw === '') return '';
  return `: ${errorIn(parseJsonObject(raw))?.message ?? raw}`;
}

/** What servers say of a failure that send no error object: a message, or FastAPI's detail. */
function detailIn(value: JsonObject | undefined): NamedError | undefined {
  const said = value?.['message'] ?? value?.['detail'];
  const words = Array.isArray(said)
    ? said.map((one) => (isJsonObject(one) ? one['msg'] : undefined))
    : [said];
  const message = words.filter((word) => typeof word === 'string').join('; ');
  return message === '' ? undefined : { message };
}

/** Google's OpenAI-compatible endpoint answers with a list of one error. */
function inList(text: string): JsonObject | undefined {
  const value = parseJson(text);
  return Array.isArray(value) ? value.find(isJsonObject) : undefined;
}

/** How a dialect reads its error objects. */
export interface FailureWords {
  /** The status that an error within an answer stands for. */
  statusOf(error: NamedError): number;
  classify(status: number, error: NamedError, options: AppErrorOptions): AppError;
}

/** An error within an answer, sent under status 200. */
export function classifyWithin(
  { statusOf, classify }: FailureWords,
  error: NamedError,
  options: AppErrorOptions = {},
): AppError {
  return classify(statusOf(error), error, { ...options, cause: options.cause ?? evidenceOf(error) });
}

/** What a response means that carries no turn, or an error object where one begins well. */
export function classifyResponse(
  words: FailureWords,
  response: FailedResponse,
  retryAfterMs: number | undefined,
  dialect: Dialect,
): AppError {
  const { status } = response;
  const { answer, cause, options } = readFailure(response, retryAfterMs);
  const { form, text } = answer;
  if (isOfTheWay(response, form)) return answeredOnTheWay(options);
  const value = form === 'text' ? inList(text) : parseJsonObject(text);
  const named = errorIn(value);
  if (status === 200) return named ? classifyWithin(words, named, options) : noTurn(cause, form);
  const error = named ?? detailIn(value) ?? (form === 'text' ? { message: text } : {});
  const known = words.classify(status, error, options);
  return form === 'json' ? withVendorAnswer(known, { dialect, status, body: text }) : known;
}

/** Where it is the request's own fault, a client of the upstream's dialect gets the upstream's words as they are. */
export function withVendorAnswer(
  known: AppError,
  { dialect, status, body }: { readonly dialect: Dialect; readonly status: number; readonly body: string },
): AppError {
  if (known.fault !== 'request' || status < 400 || status >= 500) return known;
  return new AppError(known.code, known.message, {
    cause: known.cause,
    ...(known.param !== undefined && { param: known.param }),
    sendAgain: known.sendAgain,
    vendorAnswer: { dialect, status, body },
  });
}

const failure =
  (code: ErrorCode, message: string, more: AppErrorOptions = {}) =>
  (options: AppErrorOptions): AppError =>
    new AppError(code, message, { ...options, ...more });

/** The answer of an edge, a proxy or a captive portal. Another try may get through; it says nothing about the account. */
export const answeredOnTheWay = failure(
  'upstream_unavailable',
  'Something between here and the upstream answered in its place, such as a proxy or a firewall. Try again; if it lasts, check the network and the address the upstream is configured with.',
  { fault: 'network', failover: 'once' },
);

/** The account's credential was not accepted. */
export const unauthorized = failure(
  'upstream_unauthorized',
  "The upstream did not accept the account's credential. Renew it or replace the account.",
);

export const accountRefused = failure(
  'upstream_refused',
  'The upstream refuses this account. Look into its plan and standing with the provider.',
);

/** It says so of the place that requests come from, or of a vendor behind it: another account gets the same answer. */
export const notServed = failure(
  'upstream_refused',
  'The upstream does not serve this to requests from here, whichever account sends them; the log has its answer. Use another model, or send from another place.',
  { fault: 'model', failover: 'once' },
);

/** It depends on what was sent, whichever server on the way has the limit. */
export const tooLarge = failure(
  'too_large',
  'The request is larger than the upstream takes: shorten the conversation, or send fewer or smaller images.',
);

export const rateLimited = failure(
  'upstream_rate_limited',
  'The upstream accepts no more requests at the moment. Slow down.',
);

export const notTaken = failure(
  'upstream_unavailable',
  'The upstream could not take the request. Try again.',
);

export const outOfQuota = failure(
  'upstream_quota_exhausted',
  'The account has no quota or credit left at its provider. Add some, or use another account.',
);

export const overloaded = failure('model_unavailable', 'The upstream is overloaded. Try again in a moment.');

/**
 * Vendors say so of a model that does not exist and of one that this account may not use, while another may; and so does this gateway
 * when no account has it.
 */
export const modelBarred = failure(
  'model_not_found',
  'No account that was asked may use this model. Choose another model, or add an account whose plan includes it.',
  { param: 'model', fault: 'model', failover: 'yes' },
);

/** Names of errors that say what has failed under whatever status. No client can write them. */
const byName: readonly (readonly [names: RegExp, error: typeof notTaken])[] = [
  // LiteLLM; OpenAI; new-api, twice; DashScope; Zhipu, of money and of the windows of its plans
  [
    /^(budget_exceeded|billing_hard_limit_reached|insufficient_user_quota|pre_consume_token_quota_failed|arrearage|1113|1308|1310)$/i,
    outOfQuota,
  ],
  // Zhipu, under 429
  [/^1305$/, overloaded],
  // Groq; OpenAI
  [/^(organization_restricted|access_terminated)$/, accountRefused],
  // LiteLLM, twice; Azure
  [/^expired_key$/, unauthorized],
  [/_model_access_denied$|^DeploymentNotFound$/, modelBarred],
];

export function failedByName(
  { type = '', code = '' }: NamedError,
  options: AppErrorOptions,
): AppError | undefined {
  const known = byName.find(([names]) => names.test(type) || names.test(`${code}`));
  return known?.[1](options);
}

/** What vendors mean by a status where their words say no more; undefined for one that is about the request. */
export function failedBy(status: number, options: AppErrorOptions): AppError | undefined {
  const known = byStatus[status] ?? (status >= 500 ? notTaken : status < 400 ? answeredOnTheWay : undefined);
  return known?.(options);
}

const byStatus: Readonly<Record<number, typeof notTaken>> = {
  401: unauthorized,
  402: outOfQuota,
  403: accountRefused,
  404: modelBarred,
  408: notTaken,
  409: notTaken,
  413: tooLarge,
  425: notTaken,
  429: rateLimited,
  // Groq, of its flex tier.
  498: overloaded,
  // Whatever gave it up, it was not the client of this gateway.
  499: notTaken,
  529: overloaded,
};

/**
 * `message`: the upstream's own. Agents such as Claude Code, opencode and pi shorten their conversation when they read that a prompt is
 * too long, in these words: all errors of this code begin with them.
 */
export function contextTooLong(message: string, options: AppErrorOptions): AppError {
  const shown = `The prompt is too long for the model: shorten the conversation. ${upstreamWords(message)}`;
  return new AppError('context_too_long', shown.trim(), { ...options, sendAgain: shorterAs(message) });
}

function shorterAs(message: string): SendAgain | undefined {
  const most = mostOutputIn(message);
  return most && { how: 'shorter', ...most };
}

/**
 * What vendors say of reasoning that they signed or encrypted and do not accept, or that a client has lost, also where another server
 * passes their words on.
 */
const rejectedProof =
  /invalid_encrypted_content|encrypted content.{0,200}could not be (verified|decrypted)|thought[_ ]signature|invalid .{0,2}signature|invalid .{0,2}data.{0,2} in .{0,2}redacted_thinking|thinking\S* blocks.{0,80}cannot be modified|thinking\.signature\S* field required|thinking block must contain|expected \S*thinking\S* or \S*redacted_thinking|(first block must be|final block.{0,60}cannot be) \S*thinking|input\[\d+\]\.content\W{1,3}array too long|thinking.{0,80}(another|different) (account|organi[sz]ation|workspace|model|conversation)/is;

/** What servers say that know no `reasoning_content` in the history, and those that know none without it. */
const unknownContent =
  /reasoning_content.{0,200}(unsupported|not supported|not permitted|not allowed|unexpected|unrecogni[sz]ed|unknown)/is;
const missingContent = /reasoning_content.{0,80}(must be passed back|is missing|is required)/is;

/** What OpenAI says of an organization that it has not verified. */
const refusedSummary = /must be verified to generate reasoning summar/i;

/** What OpenAI's models say of tools in Chat Completions; a server of another's may have no other protocol for them. */
const refusedEffort = /tools with reasoning_effort are not supported/i;

function otherWay(message: string, evidence: string): SendAgain | undefined {
  if (refusedSummary.test(message)) return { how: 'without-summary' };
  if (refusedEffort.test(message)) return { how: 'without-effort' };
  if (rejectedProof.test(evidence)) return { how: 'without-proofs' };
  if (unknownContent.test(evidence)) return { how: 'without-proofs', isOfModel: true };
  return shorterAs(message) ?? (missingContent.test(evidence) ? { how: 'with-reasoning' } : undefined);
}

/** The request's own fault, in the upstream's words. */
export function refusedRequest(
  { message = '', param }: { readonly message?: string | undefined; readonly param?: string | undefined },
  options: AppErrorOptions,
): AppError {
  const said = upstreamWords(message);
  const shown = said === '' ? 'The upstream refused the request; the log has its answer.' : said;
  return new AppError('invalid_request', shown, {
    ...options,
    sendAgain: otherWay(message, `${message} ${options.cause}`),
    ...(param !== undefined && { param }),
  });
}

/** `form`: of an answer under status 200. */
export function noTurn(cause: unknown, form?: FailedAnswer['form']): AppError {
  const message =
    form === 'json'
      ? 'The upstream answered in JSON where a stream was asked for. Check the address it is configured with, and that it can stream.'
      : 'The upstream answered with something that is no turn. Check the address it is configured with.';
  return new AppError('upstream_protocol', message, { cause });
}

/** The limit is ours, and the same request would meet it again. */
export function tooLong(): AppError {
  return new AppError('upstream_protocol', 'The upstream sent more than an answer can hold.', {
    fault: 'service',
    failover: 'no',
  });
}

export function tooManyCalls(): AppError {
  return new AppError(
    'upstream_protocol',
    `The upstream asked for more than ${mostCalls} calls. Try again.`,
    {
      fault: 'model',
      failover: 'once',
    },
  );
}

export function noEnd(): AppError {
  return new AppError('upstream_protocol', "The upstream's answer ended without its end mark. Try again.");
}

/** `error` as a text or an object with one, or GraphQL's list of errors. */
function wordsOf(value: JsonObject): string | undefined {
  const { error, errors } = value;
  const candidates = [error, messageOf(error), Array.isArray(errors) ? messageOf(errors[0]) : undefined];
  return candidates.find(
    (candidate): candidate is string => typeof candidate === 'string' && candidate.trim() !== '',
  );
}

function messageOf(value: unknown): unknown {
  return typeof value === 'object' && value !== null && 'message' in value ? value.message : undefined;
}

const mostCharacters = 300;
/** Blanks may stand in front of the words. */
const longestText = 8_000;

/** What the upstream wrote for a person to read, as one short line. */
export function upstreamWords(text: string): string {
  const start = text.slice(0, longestText);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is taken out.
  const line = start.replace(/[\u0000-\u001f\u007f\s]+/g, ' ').trim();
  return beginningOf(line, mostCharacters);
}
