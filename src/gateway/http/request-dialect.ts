import type { FastifyReply, FastifyRequest } from 'fastify';
import type { AppError } from '../../core/errors.ts';
import { adviseOnPath, type PathAdvice } from '../../core/path-advice.ts';
import type { Dialect, Inbound } from '../../core/protocol.ts';
import { pathOf } from '../../lib/http/served-routes.ts';
import { anthropicMessagesInbound } from '../../protocols/anthropic-messages/inbound.ts';
import { embedCallOf } from '../../protocols/gemini/embeddings/inbound.ts';
import { geminiErrors } from '../../protocols/gemini/inbound.ts';
import { endpointNames, endpoints } from '../../protocols/openai-chat/endpoints/endpoints.ts';
import { openaiChatInbound } from '../../protocols/openai-chat/inbound.ts';
import { errorHeaders } from '../output/http-answer.ts';
import { isAnthropicClient } from './api.ts';
import { geminiCall, isGeminiClient } from './gemini-routes.ts';

type ErrorDialect = Pick<Inbound<unknown>, 'errorStatus' | 'encodeError' | 'requestIdHeader'>;

export const errorDialects: Readonly<Record<NonNullable<PathAdvice['dialect']>, ErrorDialect>> = {
  openai: openaiChatInbound,
  anthropic: anthropicMessagesInbound,
  gemini: geminiErrors,
};

/**
 * Whose words an error is put in: the path tells, also one that is not quite right, and for the lists of models a header
 * that only one dialect sends.
 */
export function dialectOf(request: FastifyRequest): ErrorDialect {
  const path = pathOf(request.url);
  const isOpenai = /^\/v1\/(chat|responses)(\/|$)/.test(path);
  if (path.startsWith('/v1/messages') || (isAnthropicClient(request) && !isOpenai))
    return anthropicMessagesInbound;
  const isGemini =
    (request.method === 'POST' && geminiCall.test(path)) || /^\/v1(beta|alpha)\/models/.test(path);
  if (isGemini || (isGeminiClient(request) && !isOpenai)) return geminiErrors;
  return errorDialects[(request.is404 ? adviceOn(path).dialect : undefined) ?? 'openai'];
}

/** Of a request for a turn. */
export function turnDialect({ method, url }: FastifyRequest): Dialect | undefined {
  if (method !== 'POST') return undefined;
  const path = pathOf(url).replace(/\/+$/, '');
  if (geminiCall.test(path)) return geminiDialectOf(path.slice(path.lastIndexOf(':') + 1));
  return turnDialects.get(path);
}

function geminiDialectOf(method: string): Dialect | undefined {
  return method === 'countTokens' ? undefined : (embedCallOf(method) ?? 'gemini');
}

const turnDialects: ReadonlyMap<string, Dialect> = new Map<string, Dialect>([
  ['/v1/chat/completions', 'chat'],
  ['/v1/messages', 'messages'],
  ['/v1/responses', 'responses'],
  ...endpointNames.map((name): [string, Dialect] => [`/v1${endpoints[name].path}`, name]),
]);

export function adviceOn(path: string): PathAdvice {
  return adviseOnPath(path, 'gateway', { gateway: undefined, pool: undefined });
}

export function sendError(
  reply: FastifyReply,
  dialect: ErrorDialect,
  error: AppError,
  requestId: string,
): void {
  if (dialect.requestIdHeader !== undefined) reply.header(dialect.requestIdHeader, requestId);
  reply
    .code(dialect.errorStatus(error))
    .headers(errorHeaders(error))
    .header('content-type', 'application/json; charset=utf-8')
    .send(dialect.encodeError(error, requestId));
}
