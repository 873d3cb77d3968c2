import { AppError } from '../../core/errors.ts';
import type { Inbound, Outbound } from '../../core/protocol.ts';
import { isJsonObject, type JsonObject } from '../../lib/parse-json.ts';
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
  throw new AppError('model_not_found', 'No account that was asked can count the tokens of this model.', {
    param: 'model',
  });
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
          body: Buffer.from(relayRequest(body, model)),
        },
        decoder: new WholeRelay(readCount),
      }),
    },
    classifyFailure: (response) => classifyFailure(response, now()),
  };
}

function readCount(answer: JsonObject): ReadAnswer {
  return typeof answer['input_tokens'] === 'number' ? { reason: 'stop', usage: undefined } : unreadable();
}
