import type { AppError } from '../../core/errors.ts';
import type { Dialect } from '../../core/protocol.ts';
import { plainLine, shortened } from '../../lib/shown-text.ts';
import type { ClientKey } from '../keys/client-key.ts';
import { costOf } from '../models/catalogue.ts';
import type { Route } from '../models/route.ts';
import { shownClient } from '../records/shown-turn.ts';
import type { AskedTurn, TurnEnded } from '../records/turn-record.ts';
import { type LedgerTurn, microsOfCredit, nanosOfDollar } from '../usage/ledger-turn.ts';

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

/** A turn that has ended, or a request that was refused. */
interface EndedTurn {
  readonly asked: AskedTurn;
  readonly ended: TurnEnded;
  readonly at: number;
  readonly attempts: number;
  readonly route?: Route | undefined;
  readonly accountId?: string | undefined;
}

/** As the ledger has it. */
export function notedTurn({ asked, ended, at, attempts, route, accountId }: EndedTurn): LedgerTurn {
  const { client, requestId, dialect, model, isStream } = asked;
  const { usage, outcome, status, durationMs, firstContentMs } = ended;
  const cost = costOf(usage, route?.price);
  return {
    at,
    requestId,
    keyId: keyIdOf(client),
    keyName: client.managed ? shownName(client.managed.name) : null,
    model: shownName(model),
    answeredModel: route ? shownName(route.model) : null,
    provider: route?.provider.name ?? null,
    accountId: accountId ?? null,
    dialect,
    outcome,
    isStream,
    status,
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
    durationMs,
  };
}

/** What the ledger has of a key: the id of a managed one, of others enough to tell them apart. */
export function keyIdOf({ id, managed }: ClientKey): string {
  return managed?.keyId ?? shownClient(id);
}

export function shownName(text: string): string {
  return plainLine(shortened(text, longestName));
}
