import { AppError } from '../../core/errors.ts';
import type { CollectedTurn } from '../../core/protocol.ts';
import type { AskedRequest, Usage } from '../../core/turn.ts';
import { debugLog, type Logger } from '../../lib/log/logger.ts';
import type { AccountDemand } from '../../pool-api/held-lease.ts';
import { isShort } from '../../pool-api/lease-engine.ts';
import {
  type AnswerCheck,
  checksOf,
  eventsOf,
  type Fault,
  judge,
  sentBack,
} from '../emulation/checked-answer.ts';
import type { SchemaChecker } from '../emulation/json-schema.ts';
import { sumUsage } from '../emulation/token-count.ts';
import type { LeaseCache, LeaseDemand, TurnLease } from '../leases/lease-cache.ts';
import { AttemptReports, type Reporter, type ReportResult, reported } from '../leases/reporter.ts';
import type { Route } from '../models/routing.ts';
import type { AccountLimits } from './account-limits.ts';
import type { Affinity, Session } from './affinity.ts';
import { appErrorFromPool, isAboutOthers } from './app-errors.ts';
import { Attempt, type AttemptDependencies, type AttemptPlan } from './attempt.ts';
import { type Candidate, type CandidateDependencies, Candidates } from './candidates.ts';
import type { ClientTurn } from './client-turns.ts';
import type { ConversationResult, Conversations } from './conversations.ts';
import { Failover, type NextStep } from './failover.ts';
import { type ProviderReach, unreachable } from './provider-reach.ts';
import { BufferedOutput, type TurnOutput } from './turn-output.ts';
import type { AttemptNote, TurnRecords } from './turn-record.ts';

export interface TurnDependencies extends AttemptDependencies, CandidateDependencies {
  readonly leases: LeaseCache;
  readonly reporter: Reporter;
  readonly reach: ProviderReach;
  readonly conversations: Conversations;
  readonly affinity: Affinity;
  readonly limits: AccountLimits;
  readonly schemas: SchemaChecker;
  readonly records: TurnRecords;
  /** Answers to one request, at most. */
  readonly maxChoices: number;
}

/** How a turn ended. */
export interface TurnResult {
  readonly error: AppError | undefined;
  /** The last one; undefined when no account was lent. */
  readonly attempt: Attempt | undefined;
  readonly attempts: number;
  /** Undefined when no provider was chosen, as is the next. */
  readonly route: Route | undefined;
  readonly conversation: ConversationResult | undefined;
  readonly usage: Usage | undefined;
  /** Milliseconds from the start to the first content; undefined when none came. */
  readonly firstContentMs: number | undefined;
}

/** How a turn reaches an upstream. Its request has the instructions of the checks. */
interface Path extends AttemptPlan {
  readonly session: Session | undefined;
  readonly candidate: Candidate;
  readonly checks: readonly AnswerCheck[];
}

/** An answer that was not as asked, and is sent back to the model. */
interface Rejected {
  readonly answer: CollectedTurn;
  readonly fault: Fault;
  readonly usage: Usage | undefined;
}

interface Borrowed {
  readonly lease: TurnLease;
  /** Of the turn's record. */
  readonly note: AttemptNote;
  /** How its account was chosen, for the session. */
  readonly how: Parameters<Session['answeredBy']>[1];
}

interface Failure {
  readonly error: AppError;
  readonly report: ReportResult | undefined;
}

/** How long a turn waits, altogether, for a cooling or busy account and for a provider that cannot be reached. */
const longestWaitMs = 10_000;

/** Carries one turn to its one end. */
export function runTurn(
  dependencies: TurnDependencies,
  turn: ClientTurn,
  output: TurnOutput,
): Promise<TurnResult> {
  return new TurnRun(dependencies, turn, output).run();
}

/** The only place that tries again: as `Failover` says, and only until content was sent. */
class TurnRun {
  readonly #dependencies: TurnDependencies;
  readonly #turn: ClientTurn;
  readonly #output: TurnOutput;
  #rejected: Rejected | undefined;
  readonly #candidates: Candidates;
  readonly #startedAt: number;
  readonly #failover = new Failover();
  readonly #reports: AttemptReports;
  /** The log at DEBUG, else undefined. */
  readonly #steps: Logger | undefined;
  #step: NextStep = 'other-account';
  #waitLeftMs = longestWaitMs;
  #attempts = 0;
  #path: Path | undefined;
  #attempt: Attempt | undefined;
  #usage: Usage | undefined;

  constructor(dependencies: TurnDependencies, turn: ClientTurn, output: TurnOutput) {
    this.#dependencies = dependencies;
    this.#turn = turn;
    this.#output = output;
    this.#candidates = new Candidates(dependencies, turn);
    this.#steps = debugLog(dependencies.logger)?.child({ request_id: turn.requestId });
    this.#startedAt = dependencies.clock.monotonic();
    this.#reports = new AttemptReports(dependencies.reporter, dependencies.leases.held);
  }

  async run(): Promise<TurnResult> {
    try {
      let path = await this.#take(await this.#candidates.next());
      for (;;) {
        const borrowed = await this.#borrow(path);
        if (borrowed instanceof Error) {
          path = await this.#goOn(path, borrowed);
          continue;
        }
        this.#attempts += 1;
        const failure = await this.#use(borrowed, path);
        if (!failure) {
          path.session?.answeredBy(borrowed.lease.account.id, borrowed.how);
          this.#candidates.answered(path.candidate);
          const { output } = path;
          const again =
            output instanceof BufferedOutput && output.answer && (await this.#check(output.answer, path));
          if (!again) return this.#result(undefined);
          path = again;
          continue;
        }
        if (this.#attempt?.isContentSent) return this.#result(failure.error);
        this.#turn.signal.throwIfAborted();
        this.#decide(failure, borrowed.lease, path);
      }
    } catch (thrown) {
      const error = AppError.from(thrown);
      if (error.code !== 'cancelled') this.#output.fail(error, [{ type: 'error', error }]);
      return this.#result(error);
    } finally {
      this.#candidates.release();
    }
  }

  /** Passes an answer on that is as asked. Another one is sent back once, on the returned path; the second time it is an error. */
  async #check(answer: CollectedTurn, path: Path): Promise<Path | undefined> {
    const { fault, text = answer.text } = await judge(path.checks, answer);
    if (!fault) {
      const whole = { ...answer, text, usage: sumUsage(this.#rejected?.answer.usage, answer.usage) };
      this.#output.finish(whole, eventsOf(whole));
      return undefined;
    }
    if (this.#rejected) throw new AppError('upstream_protocol', fault.error);
    this.#dependencies.logger.info(
      { request_id: this.#turn.requestId, fault: fault.error },
      'the answer is not as asked; the model is told to mend it',
    );
    this.#rejected = { answer, fault, usage: this.#usage };
    this.#usage = undefined;
    path.conversation.end();
    return await this.#take(path.candidate);
  }

  async #take(candidate: Candidate | undefined): Promise<Path> {
    if (!candidate) throw this.#candidates.refusal ?? new Error('No candidate takes this request.');
    const { route, handling, images, relayed } = candidate;
    const { conversations, affinity, schemas } = this.#dependencies;
    const { client, affinityKey, bytes } = this.#turn;
    const { answer, fault } = this.#rejected ?? {};
    const more = answer && fault && !relayed ? sentBack(answer, fault) : [];
    const { messages } = candidate.request;
    const asked: AskedRequest = {
      ...candidate.request,
      model: route.model,
      messages: more.length === 0 ? messages : [...messages, ...more],
    };
    const { emulated } = handling;
    const checks = emulated.size === 0 ? [] : checksOf(asked, emulated, schemas, client.id);
    const request = checks.reduce((instructed, check) => check.instruct(instructed), asked);
    const provider = route.provider.name;
    const conversation = route.provider.outbound?.hasMemory
      ? await conversations.find(client.id, provider, request, bytes)
      : conversations.unremembered(client.id, request);
    this.#steps?.debug(
      {
        provider,
        upstream_model: route.model,
        remembered_on: conversation.accountId,
      },
      'the route is chosen',
    );
    const session =
      affinityKey === undefined ? undefined : affinity.sessionOf(client.id, provider, affinityKey);
    const output = checks.length === 0 ? this.#output : new BufferedOutput(this.#output);
    const unchecked = checks.flatMap((check) => check.unchecked ?? []);
    this.#path = {
      route,
      request,
      candidate,
      images,
      relayed,
      conversation,
      session,
      handling,
      checks,
      unchecked,
      output,
    };
    return this.#path;
  }

  /** Returns why no account is lent, where another provider's might be. Throws AppError. */
  async #borrow({ route, conversation, session, candidate }: Path): Promise<Borrowed | Error> {
    const { leases, clock } = this.#dependencies;
    const { record } = this.#turn;
    const { renewedAccount } = this.#failover;
    const known = renewedAccount ?? conversation.accountId;
    const preferred = known === undefined ? session?.preferred() : undefined;
    const isPreferredFull = preferred !== undefined && leases.held.isFull(preferred);
    if (isPreferredFull) record.skipped(candidate.note, { kind: 'full', accountId: preferred });
    const { excluded } = this.#failover;
    const demand = {
      provider: route.provider.name,
      model: route.model,
      labels: route.labels,
      client: this.#turn.client.id,
      prefer: known ?? preferred,
      preference: known === undefined ? ('soft' as const) : ('hard' as const),
      exclude: route.barred ? new Set([...excluded, ...route.barred]) : excluded,
      isFreeBarred: this.#failover.isFreeBarred,
      signal: this.#turn.signal,
    };
    try {
      if (this.#step === 'resting-account') await this.#mustBeShort(demand);
      const askedAt = clock.monotonic();
      const sparing = this.#sparing(demand, candidate);
      const lease =
        leases.take(sparing ?? demand) ??
        (sparing && (await this.#ifAnyIsFree(sparing))) ??
        (await this.#waiting((deadline) => leases.acquire({ ...demand, deadline })));
      const accountId = lease.account.id;
      const note = record.attempt({
        route,
        accountId,
        choice:
          accountId === renewedAccount
            ? 'same'
            : accountId !== demand.prefer
              ? 'free'
              : known
                ? 'conversation'
                : 'session',
        wasHeld: !lease.isFirst,
        waitedMs: clock.monotonic() - askedAt,
      });
      this.#steps?.debug(
        { account_id: accountId, from: lease.isFirst ? 'the pool' : 'memory', waited_ms: note.waitedMs },
        'an account is lent',
      );
      const how = known !== undefined ? 'remembered' : isPreferredFull ? 'full' : 'sought';
      return { lease, note, how };
    } catch (cause) {
      this.#turn.signal.throwIfAborted();
      if (cause instanceof AppError) throw cause;
      const reason = cause instanceof Error ? cause : new Error(String(cause));
      record.noneLent(candidate.note, reason);
      this.#steps?.debug({ provider: route.provider.name, reason: reason.message }, 'no account is lent');
      if (!this.#failover.hasFailed) return reason;
      throw this.#failover.shown(isAboutOthers(cause) ? appErrorFromPool(cause) : undefined);
    }
  }

  /** Without the accounts that have nothing left for this model; undefined where there are none such. They are tried where there is no other. */
  #sparing<Demand extends AccountDemand>(demand: Demand, { route, note }: Candidate): Demand | undefined {
    const { name, outbound } = route.provider;
    const spent = this.#dependencies.limits.spentFor(name, outbound, route.model);
    if (!spent) return undefined;
    this.#turn.record.limited(note, spent.values());
    return { ...demand, exclude: new Set([...demand.exclude, ...spent.keys()]) };
  }

  async #ifAnyIsFree(demand: Omit<LeaseDemand, 'deadline'>): Promise<TurnLease | undefined> {
    const { leases, clock } = this.#dependencies;
    try {
      return await leases.acquire({ ...demand, deadline: clock.monotonic() });
    } catch (error) {
      if (isShort(error)) return undefined;
      throw error;
    }
  }

  /** To the next candidate. Throws AppError where there is none. */
  async #goOn({ route, conversation }: Path, reason: Error): Promise<Path> {
    const next = await this.#candidates.next();
    if (!next) throw appErrorFromPool(reason, route, this.#dependencies.routes.judge(route.provider));
    conversation.end();
    return await this.#take(next);
  }

  /** Throws the error to show where an account is free that this turn has not tried: a refusal is not worked around. */
  async #mustBeShort(demand: Omit<LeaseDemand, 'deadline'>): Promise<void> {
    const { leases, clock } = this.#dependencies;
    let free: TurnLease;
    try {
      free = await leases.acquire({ ...demand, deadline: clock.monotonic() });
    } catch (error) {
      if (isAboutOthers(error)) return;
      throw error;
    }
    free.release();
    if (!this.#failover.mayReturnTo(free.account.id)) throw this.#failover.shown();
  }

  /** Takes what `wait` takes from the time this turn may wait. */
  async #waiting<Value>(wait: (deadline: number) => Promise<Value>): Promise<Value> {
    const begunAt = this.#dependencies.clock.monotonic();
    try {
      return await wait(begunAt + this.#waitLeftMs);
    } finally {
      this.#hasWaitedSince(begunAt);
    }
  }

  #hasWaitedSince(begunAt: number): void {
    this.#waitLeftMs = Math.max(0, this.#waitLeftMs - (this.#dependencies.clock.monotonic() - begunAt));
  }

  /** One attempt and its report to the pool. The lease is always released. */
  async #use({ lease, note }: Borrowed, path: Path): Promise<Failure | undefined> {
    const { id } = lease.account;
    try {
      const error = await this.#attemptUntilReached(lease, path);
      this.#turn.record.attemptEnded(note, this.#attempt, error);
      const usage = this.#attempt?.countedUsage;
      this.#usage = usage;
      if (!error) {
        this.#reports.succeeded(lease, usage);
        this.#steps?.debug({ account_id: id, outcome: 'success' }, 'the outcome is reported');
        return undefined;
      }
      const report = await this.#reports.failed(lease, error, usage);
      note.accountStatus = report?.status ?? undefined;
      this.#steps?.debug({ account_id: id, ...reported(error, report) }, 'the outcome is reported');
      return { error, report };
    } finally {
      lease.release();
    }
  }

  /** While nothing can be sent to the provider, another account would not help: the turn waits with the one it has. */
  async #attemptUntilReached(lease: TurnLease, path: Path): Promise<AppError | undefined> {
    const { reach, clock } = this.#dependencies;
    const provider = path.route.provider.name;
    const { signal } = this.#turn;
    let error: AppError | undefined;
    for (;;) {
      const attempt = new Attempt(this.#dependencies, this.#turn, lease, path);
      this.#attempt = attempt;
      this.#usage = undefined;
      path.output.begin(attempt);
      const mayTry = reach.isOut(provider)
        ? await this.#waiting((deadline) => reach.mayTry(provider, deadline, signal))
        : 'yes';
      if (mayTry === 'too-late') return unreachable(error);
      try {
        const begunAt = clock.monotonic();
        error = await attempt.run();
        if (!error?.isUnreachable) {
          if (!error) reach.connected(provider);
          this.#noteLatency(attempt, begunAt, error);
          return error;
        }
        this.#hasWaitedSince(begunAt);
        reach.unreachable(provider, mayTry === 'as-probe');
        this.#steps?.debug(
          { provider, reason: error.message },
          'the provider cannot be reached; the turn waits',
        );
        if (signal.aborted) return error;
      } finally {
        if (mayTry === 'as-probe') reach.probeEnded(provider);
      }
    }
  }

  #noteLatency(attempt: Attempt, begunAt: number, error: AppError | undefined): void {
    const { affinity, clock } = this.#dependencies;
    const isSilent = error?.code === 'upstream_timeout' && error.fault === 'upstream';
    const firstContentAt = isSilent ? clock.monotonic() : attempt.firstContentAt;
    if (firstContentAt !== undefined)
      affinity.latency.note(attempt.lease.account.id, firstContentAt - begunAt);
  }

  /** What the next attempt is to be. Throws the AppError that the client gets where there is none. */
  #decide({ error, report }: Failure, { account }: TurnLease, { route, request, conversation }: Path): void {
    const { models, logger } = this.#dependencies;
    const details = {
      request_id: this.#turn.requestId,
      account_id: account.id,
      provider: route.provider.name,
      model: request.model,
      err: error,
    };
    if (error.isModelRefusedToAccount) {
      models.refused(route.provider, route.model, account.id);
    } else if (error.code === 'invalid_request' && !error.isFinal && conversation.beginAnew()) {
      logger.info(details, 'the upstream rejected the conversation; resending the full history');
      return;
    }
    const step = this.#failover.next(error, account, report);
    this.#step = step;
    this.#steps?.debug({ account_id: account.id, reason: error.code, next: step }, 'the attempt failed');
    if (step === 'end') throw this.#failover.shown();
    if (step !== 'same-account') logger.info(details, 'another account is tried');
  }

  #result(error: AppError | undefined): TurnResult {
    const firstContentAt = this.#attempt?.firstContentAt;
    return {
      error,
      attempt: this.#attempt,
      attempts: this.#attempts,
      route: this.#path?.route,
      conversation: this.#path?.conversation.end(),
      usage: sumUsage(this.#rejected?.usage, this.#usage),
      firstContentMs: firstContentAt === undefined ? undefined : Math.round(firstContentAt - this.#startedAt),
    };
  }
}
