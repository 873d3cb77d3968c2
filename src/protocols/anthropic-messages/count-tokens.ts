import { AppError } from '../../core/errors.ts';
import type { FailedResponse, Inbound, Outbound } from '../../core/protocol.ts';
import { isJsonObject, type JsonObject, jsonBytes } from '../../lib/parse-json.ts';
import { holdsOurSignature } from '../shared/reasoning.ts';
import { type ReadAnswer, unreadable, WholeRelay } from '../shared/relay.ts';
import { unreadTurn } from '../shared/request.ts';
import { classifyFailure } from './classify-failure.ts';
import { anthropicMessagesInbound, messagesHeaders } from './inbound.ts';
import { messagesVersion } from './outbound.ts';
import { relayRequest } from './relay.ts';

const dialect = 'count_tokens';

export interface CountOptions {
  readonly includeUsage: boolean;
}

/** "Count tokens", where Anthropic itself counts: a call beside turns, that nothing is translated to. */
export const countTokensInbound: Inbound<CountOptions> = {
  ...anthropicMessagesInbound,
  name: dialect,
  decode: noTranslation,
  readRelayed(body, text, headers) {
    if (!isJsonObject(body) || holdsOurSignature(text)) return undefined;
    const relayed = { body: text, headers: messagesHeaders(headers), includeUsage: false };
    const turn = unreadTurn(body, { dialect, ...relayed }, { includeUsage: false });
    return turn && { ...turn, translated: noTranslation };
  },
};

function noTranslation(): never {
  throw notCounted();
}

function notCounted(cause?: unknown): AppError {
  const message = 'No account that was asked can count the tokens of this model.';
  return new AppError('model_not_found', message, { cause, param: 'model', failover: 'no' });
}

/** Where the answer names no wait. */
const usualRestMs = 5_000;

/** Turns have limits of their own: one of counting says nothing about the account. */
function classifyCount(response: FailedResponse, now: number): AppError {
  const error = classifyFailure(response, now);
  const { code, message, cause, retryAfterMs = usualRestMs } = error;
  if (response.status === 404 && code === 'upstream_protocol') return notCounted(cause);
  if (code !== 'upstream_rate_limited') return error;
  return new AppError(code, message, { cause, retryAfterMs, fault: 'model', modelLimit: dialect });
}

export function createCountOutbound(now: () => number): Outbound {
  return {
    contentType: 'application/json',
    capabilities: new Set(),
    images: { maxCount: 0 },
    open: noTranslation,
    relay: {
      dialect,
      open: ({ body, headers }, model) => ({
        request: {
          method: 'POST',
          path: '/v1/messages/count_tokens',
          headers: {
            'content-type': 'application/json',
            accept: 'application/json',
            ...messagesVersion,
            ...headers,
          },
          body: jsonBytes(relayRequest(body, model)),
        },
        decoder: new WholeRelay(readCount),
      }),
    },
    classifyFailure: (response) => classifyCount(response, now()),
  };
}

function readCount(answer: JsonObject): ReadAnswer {
  return typeof answer['input_tokens'] === 'number' ? { reason: 'stop', usage: undefined } : unreadable();
}
