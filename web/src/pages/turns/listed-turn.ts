import type { ShownTurn } from '../../../../src/core/shown-turn.ts';
import type { UsageTurn } from '../../../../src/core/shown-usage.ts';
import { api } from '../../api.ts';
import type { turnQuery } from './filters.tsx';
import { keyName } from './shown-names.ts';

/** A turn as the table lists it, from the memory of the gateway or from its ledger. */
export interface ListedTurn {
  readonly id: string;
  /** Its place in the ledger, if it is from there: the choices of one request stand there one by one. */
  readonly cursor?: string;
  /** When it began. */
  readonly at: number;
  readonly model: string;
  readonly answeredBy: string | undefined;
  readonly key: string;
  readonly outcome: string;
  readonly attempts: number;
  readonly firstContentMs: number | null;
  /** Null while it runs. */
  readonly durationMs: number | null;
  readonly usage: { readonly input: number; readonly output: number; readonly isEstimated: boolean } | null;
}

export function listedOf(turn: ShownTurn): ListedTurn {
  const last = turn.attempts.at(-1) ?? turn.candidates.at(-1);
  const { usage } = turn;
  return {
    id: turn.request_id,
    at: Date.parse(turn.at),
    model: turn.model,
    answeredBy: last && `${last.provider}/${last.model}`,
    key: keyName(turn.key_name, turn.client_key),
    outcome: turn.outcome,
    attempts: turn.attempts.length,
    firstContentMs: turn.first_content_ms,
    durationMs: turn.duration_ms,
    usage: usage && {
      input: usage.input_tokens,
      output: usage.output_tokens,
      isEstimated: usage.is_estimated,
    },
  };
}

function fromLedger(turn: UsageTurn): ListedTurn {
  const { input_tokens: input, output_tokens: output, provider, answered_model: answered } = turn;
  return {
    id: turn.request_id,
    cursor: turn.cursor,
    at: Date.parse(turn.at) - turn.duration_ms,
    model: turn.model,
    answeredBy: provider === null ? undefined : `${provider}/${answered ?? turn.model}`,
    key: keyName(turn.key_name, turn.key),
    outcome: turn.outcome,
    attempts: turn.attempts,
    firstContentMs: turn.first_content_ms,
    durationMs: turn.duration_ms,
    usage: input === null ? null : { input, output: output ?? 0, isEstimated: turn.is_estimated },
  };
}

const atOnce = 200;
const mostLooks = 20;
/** The memory has when a turn began, the ledger when it ended: what comes of the one is that much off the other. */
const sameTurnMs = 1_000;

/** Clients may send one request id with several turns. */
export function notAmong(listed: readonly ListedTurn[]): (turn: ListedTurn) => boolean {
  const times = Map.groupBy(listed, ({ id }) => id);
  return ({ id, at }) => !times.get(id)?.some((one) => Math.abs(one.at - at) < sameTurnMs);
}

/** A page of the ledger, from its latest turn if `before` is empty, with turns that are not listed already. */
export async function loadOlder(
  { client_key: key, min_duration_ms: least = '0', ...query }: ReturnType<typeof turnQuery>,
  before: string,
  listed: readonly ListedTurn[],
  abort: AbortSignal,
) {
  const isNew = notAmong(listed);
  const items: ListedTurn[] = [];
  let next: string | null = before;
  for (let looks = 0; looks < mostLooks && next !== null && items.length === 0; looks += 1) {
    const asked = { ...query, key, from: '1970-01-01T00:00:00Z', limit: atOnce, before: next };
    type Answer = { readonly turns: readonly UsageTurn[]; readonly next: string | null };
    const page: Answer = await api.get<Answer>('/api/usage/turns', asked, abort);
    const turns = page.turns.map(fromLedger).filter(isNew);
    items.push(...turns.filter(({ durationMs }) => (durationMs ?? 0) >= Number(least)));
    next = page.next;
  }
  return { items, next };
}
