import { AppError } from '../../core/errors.ts';
import type { ExplainedTurn } from '../../core/shown-models.ts';
import type { Clock } from '../../lib/clock.ts';
import { PoolError } from '../../pool-api/errors.ts';
import type { Pool } from '../../pool-api/pool.ts';
import type { EligibleAnswer } from '../../pool-api/schema.ts';
import type { AccountLimits } from '../leases/account-limits.ts';
import type { LeaseCache } from '../leases/lease-cache.ts';
import type { PassedOver } from '../models/configured-plans.ts';
import type { Route } from '../models/route.ts';
import type { Routes } from '../models/routing.ts';
import { shownConditionsOf, shownTierOf } from '../models/shown-models.ts';
import { barredSkip, limitWords, shownSkip, timeOf } from '../records/shown-turn.ts';
import type { Evidence } from '../records/turn-record.ts';
import { appErrorFromPool } from './app-errors.ts';
import { type CandidateDependencies, Candidates } from './candidates.ts';
import type { ClientTurn } from './client-turns.ts';
import { Failover } from './failover.ts';
import type { Circuits } from './upstream-health.ts';

export interface ExplainDependencies {
  readonly routes: Routes;
  readonly circuits: Circuits;
  readonly limits: Pick<AccountLimits, 'spentFor'>;
  readonly leases: LeaseCache;
  readonly pool: Pick<Pool, 'eligible'>;
  readonly imageFetcher?: CandidateDependencies['imageFetcher'];
  readonly clock: Clock;
}

type Shown = ExplainedTurn['candidates'][number];
type ShownAccount = Shown['named_accounts'][number];

/** The pool is asked for the first of them only. */
const mostAsked = 20;

/** Which account would answer a turn, by the code that would send it: nothing is sent, borrowed or noted. */
export async function explainTurn(
  dependencies: ExplainDependencies,
  turn: ClientTurn,
  labels: readonly string[] | undefined,
): Promise<ExplainedTurn> {
  const { routes, clock } = dependencies;
  const { request } = turn.decoded;
  let refusal: AppError | undefined;
  const plan =
    turn.plan ??
    (await routes.plan(request, turn, evenDraw).catch((error: unknown) => {
      refusal = AppError.from(error);
      return undefined;
    }));
  const { passedOver, kind, route, alias } = await routes.explain(request, turn, plan);
  const tried = plan ? await inOrder(dependencies, { ...turn, plan }) : [];
  const notes: string[] = [];
  const shown = await Promise.all(
    tried.map(async (one, index) => {
      const asks = one.isTaken && index < mostAsked;
      const accounts = asks ? await accountsFor(dependencies, one.route, labels) : undefined;
      if (accounts?.error && !notes.includes(accounts.error.message)) notes.push(accounts.error.message);
      return { ...one, accounts };
    }),
  );
  if (tried.length > mostAsked) notes.push(`Accounts are shown for the first ${mostAsked} candidates only.`);
  const able = shown.filter(({ isTaken, accounts }) => isTaken && accounts?.chosen !== undefined);
  const firsts = able.filter((one) => isFirst(one, able[0]));
  const shares = sharesOf(firsts.map(({ route: one }) => one));
  const shortages = shown.flatMap(({ accounts }) => (accounts?.shortage ? [accounts.shortage] : []));
  const fields = shown.flatMap(({ refused }) => (refused ? [refused] : []));
  const error =
    able.length > 0
      ? undefined
      : (refusal ?? (shortages.length > 0 ? new Failover(clock.monotonic()).shown(shortages) : fields[0]));
  const planned = plan?.candidates ?? [];
  return {
    model: request.model,
    dialect: turn.protocol,
    way: { kind, route: route ?? null, alias: alias ?? null },
    answers: firsts.map(({ route: one, accounts }, index) => ({
      ...placeOf(one),
      share: shares[index] ?? 0,
      account_id: accounts?.chosen ?? null,
    })),
    error: error ? { code: error.code, status: error.status, message: error.message } : null,
    candidates: shown.map(({ route: one, skipped, isTaken, accounts }) => ({
      ...placeOf(one),
      tier: shownTierOf(one.configured?.tier),
      weight: one.configured?.weight ?? null,
      share: shareOf(one, planned),
      when: shownConditionsOf(one.configured?.when),
      labels: [...(one.labels ?? [])],
      context_window: one.contextWindow ?? null,
      skipped: [...(one.barred?.size ? [barredSkip(one.barred)] : []), ...skipped.map(shownSkip)],
      can_serve: isTaken && accounts?.chosen !== undefined,
      accounts: accounts?.counts ?? null,
      named_accounts: [...(accounts?.named ?? [])],
    })),
    passed_over: passedOver.map(passedWords),
    notes,
  };
}

/** Candidates of one weight stay in their order, and of others the heavier come first: shares say the rest. */
export const evenDraw = (): number => 0.5;

interface Tried {
  readonly route: Route;
  readonly skipped: readonly Evidence[];
  readonly isTaken: boolean;
  readonly refused: AppError | undefined;
}

/** As a turn would try them one after another, where each fails. */
async function inOrder(
  { circuits, ...dependencies }: ExplainDependencies,
  turn: ClientTurn,
): Promise<Tried[]> {
  const candidates = new Candidates(
    { ...dependencies, circuits: { openUntil: (place) => circuits.wouldBeOpenUntil(place), notTried() {} } },
    turn,
  );
  try {
    const taken = new Map<Route, Evidence[]>();
    let next = await candidates.next();
    while (next) {
      taken.set(next.route, next.note.skipped);
      next = await candidates.next();
    }
    const { record } = turn;
    const order = new Map<Route, Evidence[]>();
    // One whose circuit is open is noted twice, and comes last.
    for (const { route, skipped } of record.candidates) {
      const before = order.get(route) ?? [];
      order.delete(route);
      order.set(route, [...before, ...skipped]);
    }
    return [...order].map(([route, skipped]) => {
      const isTaken = taken.has(route);
      return { route, skipped, isTaken, refused: isTaken ? undefined : candidates.refusal };
    });
  } finally {
    candidates.release();
  }
}

interface Accounts {
  readonly counts: Record<string, number> | undefined;
  readonly named: readonly ShownAccount[];
  /** The account that would have the turn, null where the pool names none; undefined: none can. */
  readonly chosen: string | null | undefined;
  readonly shortage: AppError | undefined;
  /** The pool does not say. */
  readonly error: AppError | undefined;
}

async function accountsFor(
  { pool, leases, limits, routes, clock }: ExplainDependencies,
  route: Route,
  asked: readonly string[] | undefined,
): Promise<Accounts> {
  const { provider, model, barred } = route;
  const labels =
    route.labels && asked ? route.labels.filter((label) => asked.includes(label)) : (asked ?? route.labels);
  // No account carries both.
  if (labels?.length === 0) return shortageOf({ matching: 0, reasons: {} }, route, routes);
  const demand = { provider: provider.name, model, labels, exclude: new Set(barred) };
  const spent = limits.spentFor(provider.name, provider.outbound, model);
  const sparing = { ...demand, exclude: new Set([...demand.exclude, ...(spent?.keys() ?? [])]) };
  const held = leases.held.pick(sparing) ?? leases.held.pick(demand);
  let answer: EligibleAnswer;
  try {
    answer = await pool.eligible({ provider: provider.name, model, ...(labels && { labels: [...labels] }) });
  } catch (cause) {
    // Turns go on with the accounts that are held.
    const error = appErrorFromPool(cause);
    const chosen = held?.account.id;
    const shortage = chosen === undefined ? error : undefined;
    return { counts: undefined, named: [], chosen, shortage, error };
  }
  const counts = { ...answer.counts };
  const named = answer.accounts.map(({ account_id: id, label, standing: atPool }): ShownAccount => {
    const limit = spent?.get(id);
    const isHeld = leases.held.suiting(demand).has(id) && !leases.held.isFull(id);
    const standing = barred?.has(id) ? 'model' : limit ? 'limit' : isHeld ? 'held' : atPool;
    if (standing !== atPool && counts[atPool] !== undefined) {
      counts[atPool] -= 1;
      if (counts[atPool] === 0) delete counts[atPool];
      counts[standing] = (counts[standing] ?? 0) + 1;
    }
    const says = limit ? `${limitWords(limit.reading)}, resets ${timeOf(limit.until)}` : null;
    return { account_id: id, label, standing, says, can_serve: standing === 'held' || standing === 'open' };
  });
  const first = named.find(({ can_serve }) => can_serve)?.account_id;
  // Those with nothing left, as far as is known, are taken where there is no other.
  const last = named.find(({ account_id: id, standing }) => {
    return standing === 'limit' && (spent?.get(id)?.barredUntil ?? 0) <= clock.now();
  })?.account_id;
  const isAnyOpen = (counts['open'] ?? 0) + (counts['held'] ?? 0) > 0;
  const chosen = held?.account.id ?? first ?? (isAnyOpen ? null : last);
  if (chosen !== undefined) return { counts, named, chosen, shortage: undefined, error: undefined };
  const { matching } = answer;
  return { ...shortageOf({ matching, reasons: counts }, route, routes), counts, named };
}

function shortageOf(
  { matching, reasons }: { readonly matching: number; readonly reasons: Record<string, number> },
  route: Route,
  routes: Routes,
): Accounts {
  const holders = { exclusive: 0, shared: 0, gateway: 0 };
  const error = new PoolError('no_account_available', 'No account is free.', {
    shortage: { matching, reasons, holders },
  });
  const shortage = appErrorFromPool(error, route, routes.judge(route.provider));
  return { counts: reasons, named: [], chosen: undefined, shortage, error: undefined };
}

function placeOf({ provider, model }: Route) {
  return { provider: provider.name, model };
}

/** Of the tier that answers; one whose circuit is open comes after all others. */
function isFirst(one: Tried, first: Tried | undefined): boolean {
  return one === first || (tierOf(one.route) === tierOf(first?.route) && isOpen(one) === isOpen(first));
}

function isOpen(one: Tried | undefined): boolean {
  return one?.skipped.some(({ kind }) => kind === 'circuit') === true;
}

/** Where no route is configured each candidate is a tier of its own. */
function tierOf(route: Route | undefined): unknown {
  return route?.configured?.tier ?? route;
}

function sharesOf(routes: readonly Route[]): number[] {
  const weights = routes.map(({ configured }) => configured?.weight ?? 1);
  const sum = weights.reduce((total, weight) => total + weight, 0);
  return weights.map((weight) => weight / sum);
}

function shareOf(route: Route, planned: readonly Route[]): number {
  const tier = planned.filter((one) => tierOf(one) === tierOf(route));
  return sharesOf(tier)[tier.indexOf(route)] ?? 1;
}

const passedWordsOf: Readonly<Record<PassedOver['reason'], string>> = {
  tools: 'The route takes it for requests with or without tools only, and this one is not such.',
  images: 'The route takes it for requests with or without images only, and this one is not such.',
  context: 'The request is longer than the route allows for it.',
  unknown: 'No account of the provider lists the model.',
  key: 'The client key is not for it.',
  blind: 'The model sees no images, and another candidate does.',
};

function passedWords({ candidate, reason }: PassedOver): ExplainedTurn['passed_over'][number] {
  const { provider, model } = candidate;
  return { provider, model, reason, says: passedWordsOf[reason] };
}
