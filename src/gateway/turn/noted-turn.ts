import type { AppError } from '../../core/errors.ts';
import type { Dialect } from '../../core/protocol.ts';
import { plainLine, shortened } from '../../lib/shown-text.ts';
import type { ClientKey } from '../keys/client-key.ts';
import { costOf } from '../models/catalogue.ts';
import { shownClient } from '../records/shown-turn.ts';
import { type LedgerTurn, microsOfCredit, nanosOfDollar } from '../usage/ledger-turn.ts';
import type { ClientTurn } from './client-turns.ts';
import type { TurnResult } from './run-turn.ts';

/** A request of a client that no turn was made of. */
export interface RefusedTurn {
  readonly client: ClientKey;
  readonly requestId: string;
  readonly dialect: Dialect;
  /** As far as the request could be read. */
  readonly model: string | undefined;
  readonly isStream: boolean;
  readonly status: number;
  readonly error: AppError;
}

/** Names come from clients: longer ones are no model's. */
const longestName = 200;

/** A turn that has ended as the ledger has it. */
export function notedTurn(
  turn: ClientTurn,
  result: TurnResult,
  ended: { readonly at: number; readonly status: number; readonly durationMs: number },
): LedgerTurn {
  const { client, decoded, requestId, protocol } = turn;
  const { usage, route, attempt, error, attempts, firstContentMs } = result;
  const cost = costOf(usage, route?.price);
  return {
    at: ended.at,
    requestId,
    keyId: keyIdOf(client),
    keyName: keyNameOf(client),
    model: shownName(decoded.request.model),
    answeredModel: route ? shownName(route.model) : null,
    provider: route?.provider.name ?? null,
    accountId: attempt?.lease.account.id ?? null,
    dialect: protocol,
    outcome: error?.code ?? 'success',
    isStream: decoded.isStream,
    status: ended.status,
    attempts,
    inputTokens: usage?.inputTokens ?? null,
    outputTokens: usage?.outputTokens ?? null,
    cachedTokens: usage?.cachedInputTokens ?? null,
    cacheWriteTokens: usage?.cacheWriteTokens ?? null,
    reasoningTokens: usage?.reasoningTokens ?? null,
    costNanos: cost === undefined ? null : Math.round(cost * nanosOfDollar),
    creditMicros: usage?.credits === undefined ? null : Math.round(usage.credits * microsOfCredit),
    isEstimated: usage?.isEstimated === true,
    firstContentMs: firstContentMs ?? null,
    durationMs: ended.durationMs,
  };
}

export function notedRefusal(
  { client, requestId, dialect, model, isStream, status, error }: RefusedTurn,
  at: number,
): LedgerTurn {
  return {
    at,
    requestId,
    keyId: keyIdOf(client),
    keyName: keyNameOf(client),
    model: shownName(model ?? ''),
    answeredModel: null,
    provider: null,
    accountId: null,
    dialect,
    outcome: error.code,
    isStream,
    status,
    attempts: 0,
    inputTokens: null,
    outputTokens: null,
    cachedTokens: null,
    cacheWriteTokens: null,
    reasoningTokens: null,
    costNanos: null,
    creditMicros: null,
    isEstimated: false,
    firstContentMs: null,
    durationMs: 0,
  };
}

function keyNameOf({ managed }: ClientKey): string | null {
  return managed ? shownName(managed.name) : null;
}

/** What the ledger has of a key: the id of a managed one, of others enough to tell them apart. */
export function keyIdOf({ id, managed }: ClientKey): string {
  return managed?.keyId ?? shownClient(id);
}

export function shownName(text: string): string {
  return plainLine(shortened(text, longestName));
}
