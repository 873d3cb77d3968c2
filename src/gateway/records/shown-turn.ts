import type { AppError } from '../../core/errors.ts';
import type { Dialect, LimitReading } from '../../core/protocol.ts';
import type { ShownTurn } from '../../core/shown-turn.ts';
import type { Usage } from '../../core/turn.ts';
import { plainLine, plainText, shortened } from '../../lib/shown-text.ts';
import type { ClientKey } from '../keys/client-key.ts';
import { costOf } from '../models/catalogue.ts';
import type { Route } from '../models/route.ts';
import { type LedgerTurn, microsOfCredit, nanosOfDollar } from '../usage/ledger-turn.ts';
import type {
  AskedTurn,
  AttemptNote,
  CandidateNote,
  Evidence,
  TurnEnded,
  TurnRecord,
} from './turn-record.ts';

type ShownSkip = Omit<ShownTurn['candidates'][number]['skipped'][number], 'at_ms'>;

const mostNamed = 5;

/**
 * A record by places instead of names: a third of the text in the ledger. Rows of earlier releases are read by the same
 * places, so a new value comes last. No strings are concatenated here: JSON.stringify takes three times as long for those.
 */
export function keptTurn({ asked, at, ended, trace, candidates, attempts, omitted }: TurnRecord) {
  return [
    asked.requestId,
    trace?.traceId,
    at,
    asked.dialect,
    asked.model,
    asked.isStream,
    shownClient(asked.client.id),
    asked.client.managed?.name,
    ended?.outcome,
    ended?.message,
    ended?.status,
    ended?.durationMs,
    ended?.firstContentMs,
    ended?.finish,
    // Releases before this one kept how its route is shown.
    undefined as string | undefined,
    ended?.usage && keptUsage(ended.usage, attempts.at(-1)),
    candidates.map(keptCandidate),
    attempts.map(keptAttempt),
    omitted,
  ] as const;
}
type KeptTurn = ReturnType<typeof keptTurn>;

function keptUsage(usage: Usage, last: AttemptNote | undefined) {
  return [
    usage.inputTokens,
    usage.outputTokens,
    usage.cachedInputTokens,
    usage.cacheWriteTokens,
    usage.reasoningTokens,
    usage.isEstimated,
    usage.credits,
    costOf(usage, last?.route.price),
  ] as const;
}

function keptCandidate({ route: { provider, model, barred }, atMs, skipped }: CandidateNote) {
  const skips = skipped.map((skip) => ({ ...shownSkip(skip), at_ms: skip.atMs }));
  if (barred?.size) skips.unshift({ ...barredSkip(barred), at_ms: atMs });
  return [provider.name, model, atMs, skips] as const;
}

function keptAttempt(note: AttemptNote) {
  return [
    note.route.provider.name,
    note.route.model,
    note.accountId,
    note.choice,
    note.wasHeld,
    note.waitedMs,
    note.startedMs,
    note.connectedMs,
    note.firstContentMs,
    note.endedMs,
    note.status,
    note.outcome,
    note.message,
    note.accountStatus,
    note.outputCap,
  ] as const;
}

/** A record in words, for the operator. */
export function shownTurn(record: TurnRecord): ShownTurn {
  return shownKept(keptTurn(record));
}

/** What the ledger has of a turn; earlier releases kept it as it is shown. */
export function shownFromLedger(json: string): ShownTurn {
  const kept = JSON.parse(json) as KeptTurn | ShownTurn;
  return 'request_id' in kept ? kept : shownKept(kept);
}

function shownKept(kept: KeptTurn): ShownTurn {
  const [requestId, traceId, at, dialect, model, isStream, clientKey, keyName, ...rest] = kept;
  const [outcome, message, status, durationMs, firstContentMs, finish, route, usage, ...decided] = rest;
  const [candidates, attempts, omitted] = decided;
  return {
    request_id: requestId,
    trace_id: traceId ?? null,
    at: new Date(at).toISOString(),
    dialect,
    model: plainLine(model),
    stream: isStream,
    client_key: clientKey,
    key_name: keyName ?? null,
    outcome: outcome ?? 'running',
    message: message === undefined ? null : plainText(message),
    status: status ?? null,
    duration_ms: durationMs ?? null,
    first_content_ms: firstContentMs ?? null,
    finish: finish ?? null,
    route: route ?? keptRoute(candidates, attempts),
    usage: usage ? shownUsage(usage) : null,
    candidates: candidates.map(([provider, model, atMs, skipped]) => ({
      provider,
      model: plainLine(model),
      at_ms: atMs,
      skipped,
    })),
    attempts: attempts.map(shownAttempt),
    omitted,
  };
}

function keptRoute(candidates: KeptTurn[16], attempts: KeptTurn[17]): string {
  return routeSummary({
    candidates: candidates.map(([name, model, , skips]) => ({
      route: { provider: { name }, model },
      skipped: skips.map(({ reason }) => ({ kind: reason === 'none_lent' ? 'none-lent' : reason })),
    })),
    attempts: attempts.map(([name, model, accountId, , , , , , , , , outcome]) => ({
      route: { provider: { name }, model },
      accountId,
      outcome,
    })),
  });
}

function shownUsage(kept: ReturnType<typeof keptUsage>): ShownTurn['usage'] {
  const [input, output, cached, cacheWrite, reasoning, isEstimated, credits, cost] = kept;
  return {
    input_tokens: input,
    output_tokens: output,
    cached_input_tokens: cached ?? null,
    cache_write_tokens: cacheWrite ?? null,
    reasoning_tokens: reasoning ?? null,
    is_estimated: isEstimated === true,
    credits: credits ?? null,
    cost_cents: cost == null ? null : Number((100 * cost).toPrecision(6)),
  };
}

function shownAttempt(kept: ReturnType<typeof keptAttempt>): ShownTurn['attempts'][number] {
  const [provider, model, accountId, choice, wasHeld, waitedMs, startedMs, ...rest] = kept;
  const [connectedMs, firstContentMs, endedMs, status, outcome, message, ...further] = rest;
  const [accountStatus, outputCap] = further;
  return {
    provider,
    model: plainLine(model),
    account_id: accountId,
    choice,
    from: wasHeld ? 'held' : 'pool',
    waited_ms: waitedMs,
    started_ms: startedMs,
    connected_ms: connectedMs ?? null,
    first_content_ms: firstContentMs ?? null,
    ended_ms: endedMs ?? null,
    status: status ?? null,
    outcome: outcome ?? null,
    message: message === undefined ? null : plainText(message),
    account_status: accountStatus ?? null,
    output_limit: outputCap ?? null,
  };
}

/** Enough of the digest to tell clients apart; the whole one opens what is kept for a client. */
export function shownClient(clientId: string): string {
  return clientId.slice(0, 12);
}

export function barredSkip(barred: ReadonlySet<string>): ShownSkip {
  const named = [...barred].slice(0, mostNamed).map(shortId);
  const others = barred.size - named.length;
  const accounts = others > 0 ? `${named.join(', ')} and ${others} more` : named.join(', ');
  const says = `${barred.size === 1 ? 'account' : 'accounts'} ${accounts}: the model is not in the account's own list, or refused to it`;
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

const longestModelName = 1_000;
const longestRoute = 1_000;
const mostInRoute = 8;

/** The part of a record that its summary is made of. */
interface RoutedRecord {
  readonly attempts: readonly NotedAttempt[];
  readonly candidates: readonly {
    readonly route: NamedRoute;
    readonly skipped: readonly { readonly kind: string }[];
  }[];
}

interface NotedAttempt {
  readonly route: NamedRoute;
  readonly accountId: string;
  readonly outcome?: string | null | undefined;
}

interface NamedRoute {
  readonly provider: { readonly name: string };
  readonly model: string;
}

/** `openai/gpt-5-mini#acc_0a1b2c3d; attempts=2; tried=openai/gpt-5-mini#acc_4e5f6071:upstream_rate_limited` */
export function routeSummary({ attempts, candidates }: RoutedRecord): string {
  const last = attempts.at(-1);
  const looked = candidates.at(-1);
  const reached = last ? attemptName(last) : looked ? modelOf(looked.route) : 'none';
  const summary = `${reached}; attempts=${attempts.length}`;
  // Nearly every turn, before its end and after.
  if (attempts.length === 1 && candidates.length === 1) {
    const outcome = last?.outcome;
    if (outcome == null || (outcome === 'success' && looked?.skipped.length === 0)) return summary;
  }
  const failed = attempts.filter(({ outcome }) => outcome != null && outcome !== 'success');
  const tried = failed.map((note) => `${attemptName(note)}:${note.outcome}`);
  const passed = candidates.flatMap(({ route, skipped }) => {
    const why = skipped.find(({ kind }) => kind === 'none-lent' || kind === 'field' || kind === 'circuit');
    return why ? [`${modelOf(route)}:${why.kind}`] : [];
  });
  return (summary + listed('tried', tried) + listed('passed', passed)).slice(0, longestRoute);
}

function listed(name: string, items: readonly string[]): string {
  return items.length === 0 ? '' : `; ${name}=${items.slice(0, mostInRoute).join(',')}`;
}

function attemptName({ route, accountId }: NotedAttempt): string {
  return `${modelOf(route)}#${shortId(accountId)}`;
}

/** As commands name an account. */
function shortId(accountId: string): string {
  return accountId.slice(0, 12);
}

/** In characters that a header may hold. */
export function modelOf({ provider, model }: NamedRoute): string {
  const name = `${provider.name}/${model}`;
  const isPlain = /^[!-~]+$/.test(name);
  const shown = isPlain ? name : name.toWellFormed().replace(/[^!-~]+/g, encodeURIComponent);
  return shown.slice(0, longestModelName);
}

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
