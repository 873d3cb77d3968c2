import type { LimitReading } from '../../core/protocol.ts';
import type { ShownTurn } from '../../core/shown-turn.ts';
import { costOf } from '../models/catalogue.ts';
import type { AttemptNote, Evidence, TurnRecord } from './turn-record.ts';

type ShownSkip = Omit<ShownTurn['candidates'][number]['skipped'][number], 'at_ms'>;

const mostNamed = 5;

/** A record in words, for the operator. */
export function shownTurn(record: TurnRecord, route: string): ShownTurn {
  const { asked, ended, candidates, attempts, omitted } = record;
  const { usage } = ended ?? {};
  const cost = costOf(usage, attempts.at(-1)?.route.price);
  return {
    request_id: asked.requestId,
    trace_id: record.trace?.traceId ?? null,
    at: new Date(record.at).toISOString(),
    dialect: asked.dialect,
    model: asked.model,
    stream: asked.isStream,
    client_key: shownClient(asked.client.id),
    key_name: asked.client.managed?.name ?? null,
    outcome: ended?.outcome ?? 'running',
    message: ended?.message ?? null,
    status: ended?.status ?? null,
    duration_ms: ended?.durationMs ?? null,
    first_content_ms: ended?.firstContentMs ?? null,
    finish: ended?.finish ?? null,
    route,
    usage: usage
      ? {
          input_tokens: usage.inputTokens,
          output_tokens: usage.outputTokens,
          cached_input_tokens: usage.cachedInputTokens ?? null,
          cache_write_tokens: usage.cacheWriteTokens ?? null,
          reasoning_tokens: usage.reasoningTokens ?? null,
          is_estimated: usage.isEstimated === true,
          credits: usage.credits ?? null,
          cost_cents: cost === undefined ? null : Number((100 * cost).toPrecision(6)),
        }
      : null,
    candidates: candidates.map(({ route: { provider, model, barred }, atMs, skipped }) => ({
      provider: provider.name,
      model,
      at_ms: atMs,
      skipped: [
        ...(barred?.size ? [{ ...barredSkip(barred), at_ms: atMs }] : []),
        ...skipped.map((skip) => ({ ...shownSkip(skip), at_ms: skip.atMs })),
      ],
    })),
    attempts: attempts.map(shownAttempt),
    omitted,
  };
}

/** Enough of the digest to tell clients apart; the whole one opens what is kept for a client. */
export function shownClient(clientId: string): string {
  return clientId.slice(0, 12);
}

/** As commands name an account. */
export function shortId(accountId: string): string {
  return accountId.slice(0, 12);
}

function shownAttempt(note: AttemptNote): ShownTurn['attempts'][number] {
  return {
    provider: note.route.provider.name,
    model: note.route.model,
    account_id: note.accountId,
    choice: note.choice,
    from: note.wasHeld ? 'held' : 'pool',
    waited_ms: note.waitedMs,
    started_ms: note.startedMs,
    connected_ms: note.connectedMs ?? null,
    first_content_ms: note.firstContentMs ?? null,
    ended_ms: note.endedMs ?? null,
    status: note.status ?? null,
    outcome: note.outcome ?? null,
    message: note.message ?? null,
    account_status: note.accountStatus ?? null,
  };
}

export function barredSkip(barred: ReadonlySet<string>): ShownSkip {
  const named = [...barred].slice(0, mostNamed).map(shortId);
  const others = barred.size - named.length;
  const accounts = others > 0 ? `${named.join(', ')} and ${others} more` : named.join(', ');
  const says = `${barred.size === 1 ? 'account' : 'accounts'} ${accounts}: the model is not in the account's own list`;
  return { reason: 'models', account_id: null, says };
}

export function shownSkip(evidence: Evidence): ShownSkip {
  switch (evidence.kind) {
    case 'limit': {
      const { accountId, reading, until } = evidence.limit;
      const says = `account ${shortId(accountId)}: ${limitWords(reading)}, resets ${timeOf(until)}`;
      return { reason: 'limit', account_id: accountId, says };
    }
    case 'full': {
      const says = `account ${shortId(evidence.accountId)}: preferred, and every place on it is taken`;
      return { reason: 'full', account_id: evidence.accountId, says };
    }
    case 'none-lent':
      return { reason: 'none_lent', account_id: null, says: shortageWords(evidence) };
    case 'field':
      return { reason: 'field', account_id: null, says: evidence.message };
    case 'circuit':
      return {
        reason: 'circuit',
        account_id: null,
        says: `resting after failures until ${timeOf(evidence.until)}`,
      };
  }
}

/** `5h window 98 %`, `requests 0 of 60 left`. */
export function limitWords({ name, usedPercent, remaining, limit }: LimitReading): string {
  if (usedPercent !== undefined) return `${name} window ${Math.round(usedPercent)} %`;
  return limit === undefined ? `${name} ${remaining} left` : `${name} ${remaining} of ${limit} left`;
}

function shortageWords({ message, reasons = {} }: Extract<Evidence, { kind: 'none-lent' }>): string {
  const counts = Object.entries(reasons).map(([reason, count]) => `${count} ${reason.replaceAll('_', ' ')}`);
  return counts.length === 0 ? message : `no free account: ${counts.join(', ')}`;
}

/** `2026-11-26 14:02:10 UTC` */
export function timeOf(at: number): string {
  return `${new Date(at).toISOString().slice(0, 19).replace('T', ' ')} UTC`;
}
