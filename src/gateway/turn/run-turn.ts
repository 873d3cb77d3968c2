import { AppError } from '../../core/errors.ts';
import type { CollectedTurn } from '../../core/protocol.ts';
import type { Usage } from '../../core/turn.ts';
import { sleep } from '../../lib/clock.ts';
import { debugLog, type Logger } from '../../lib/log/logger.ts';
import { onceKnown } from '../../lib/tasks.ts';
import type { ReportResult } from '../../pool-api/report-queue.ts';
import type { TurnLease } from '../../pool-api/waiting-turns.ts';
import { eventsOf, judge } from '../emulation/checked-answer.ts';
import { sumUsage } from '../emulation/token-count.ts';
import { reported, type Suspect } from '../leases/reporter.ts';
import type { Route } from '../models/route.ts';
import { appErrorFromPool, isAboutOthers } from './app-errors.ts';
import { Attempt } from './attempt.ts';
import { Borrowing, type Place } from './borrowing.ts';
import { type Candidate, Candidates } from './candidates.ts';
import type { ClientTurn, TurnDependencies } from './client-turns.ts';
import type { ConversationResult } from './conversations.ts';
import { Failover, isTooLongForModel, isUpstreamsFault, type NextStep } from './failover.ts';
import { changed, type Path, pathTo, type Rejected, waitAt } from './path.ts';
import { type BrokenAnswer, BufferedOutput, ContinuedOutput, type TurnOutput } from './turn-output.ts';
import { type MayTry, unreachable } from './upstream-health.ts';

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

interface Failure {
  readonly error: AppError;
  readonly report: ReportResult | undefined;
}

/** Carries one turn to its one end. The only place that tries again: as `Failover` says, and only until content was sent. */
export class TurnRun {
  readonly #dependencies: TurnDependencies;
  readonly #turn: ClientTurn;
  readonly #output: TurnOutput;
  #rejected: Rejected | undefined;
  #broken: BrokenAnswer | undefined;
  readonly #candidates: Candidates;
  readonly #failover: Failover;
  readonly #borrowing: Borrowing;
  readonly #suspects: Suspect[] = [];
  /** The log at DEBUG, else undefined. */
  readonly #steps: Logger | undefined;
  /** In the order they were taken. */
  readonly #paths: Path[] = [];
  #path: Path | undefined;
  #attempt: Attempt | undefined;
  #usage: Usage | undefined;

  constructor(dependencies: TurnDependencies, turn: ClientTurn, output: TurnOutput) {
    this.#dependencies = dependencies;
    this.#turn = turn;
    this.#output = output;
    this.#candidates = new Candidates(dependencies, turn);
    this.#steps = debugLog(dependencies.logger)?.child({ request_id: turn.requestId });
    this.#failover = new Failover(dependencies.clock.monotonic());
    this.#borrowing = new Borrowing(dependencies, turn, this.#failover, this.#steps);
  }

  async run(): Promise<TurnResult> {
    try {
      const first = this.#placeAtOthers();
      let place: Place | undefined =
        (first instanceof Promise ? await first : first) ?? (await this.#placeAtTried(undefined));
      if (!place) throw this.#noPlace();
      for (;;) {
        const { path, lease, how }: Place = place;
        const failure = await this.#use(place);
        if (!failure) {
          path.session?.answeredBy(lease.account.id, how);
          this.#candidates.answered(path.candidate);
          this.#dependencies.circuits.succeeded(path.route);
          const { output } = path;
          // Another account that answered proves nothing about the one that refused.
          for (const { sendAgain, accountId } of path.refusals)
            if (accountId === lease.account.id) this.#dependencies.refusals.note(sendAgain, path, accountId);
          const again =
            output instanceof BufferedOutput && output.answer && (await this.#check(output.answer, path));
          if (!again) return this.#result(undefined);
          place = await this.#next('other-account', again);
          continue;
        }
        const { error } = failure;
        if (this.#candidates.areSeveral && isUpstreamsFault(error))
          this.#dependencies.circuits.failed(path.route);
        if (this.#attempt?.isContentSent && !this.#mayContinue(error, this.#attempt, path)) {
          if (error.code !== 'cancelled') path.output.fail(error, this.#attempt.unsent);
          return this.#result(error);
        }
        this.#turn.signal.throwIfAborted();
        const step = this.#decide(failure, lease, path);
        place = await (this.#broken ? this.#nextToContinue(step, path) : this.#next(step, path));
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
    this.#paths.splice(this.#paths.indexOf(path), 1);
    return await this.#take(path.candidate);
  }

  #take(candidate: Candidate): Path | Promise<Path> {
    const { delivery } = this.#candidates;
    const soFar = { rejected: this.#rejected, broken: this.#broken };
    const found = pathTo(this.#dependencies, this.#turn, candidate, soFar, this.#output, delivery);
    return onceKnown(found, (path) => {
      const { provider, model } = path.route;
      const { accountId: remembered_on } = path.conversation;
      const chosen = { provider: provider.name, upstream_model: model, remembered_on };
      this.#steps?.debug(chosen, 'the route is chosen');
      this.#paths.push(path);
      this.#path = path;
      return path;
    });
  }

  /** Whether another attempt may give the rest of an answer that broke off: of text, where the client wants that. */
  #mayContinue(error: AppError, { answer, unsent }: Attempt, { output, relayed }: Path): boolean {
    if (this.#candidates.delivery !== 'continue' || relayed || answer.toolCalls.length > 0) return false;
    if (error.fault === 'service' || error.fault === 'request' || this.#turn.signal.aborted) return false;
    const content = unsent.slice(0, -1);
    if (content.length > 0) void output.write(content);
    const usage = sumUsage(this.#broken?.usage, this.#usage);
    this.#broken = { text: output instanceof ContinuedOutput ? output.text : answer.text, usage };
    this.#usage = undefined;
    return true;
  }

  /** With the text so far in the request of every candidate; models that go on with it come first. */
  async #nextToContinue(step: NextStep, from: Path): Promise<Place> {
    let here = from;
    for (const path of this.#paths.splice(0)) {
      path.conversation.end();
      const again = await this.#take(path.candidate);
      again.isLeft = path.isLeft;
      again.isRefused = path.isRefused;
      if (path === from) here = again;
    }
    const isBetterElsewhere = this.#candidates.preferPrefill() && from.route.takesPrefill !== true;
    return await this.#next(isBetterElsewhere && step !== 'leave-candidate' ? 'next-candidate' : step, here);
  }

  /** Where the next attempt is made, and when. Throws the AppError that the client gets where that is nowhere. */
  async #next(step: NextStep, from: Path): Promise<Place> {
    if (step === 'leave-candidate') from.isLeft = true;
    // No pause before an error.
    if (this.#candidates.isLast && this.#paths.every(({ isLeft }) => isLeft)) throw this.#noPlace();
    await this.#pause();
    if (step === 'resting-account') from.isRefused = true;
    const staysFirst = step === 'same-account' || step === 'other-account';
    const place =
      (staysFirst ? await this.#placeAt(from) : undefined) ??
      (await this.#placeAtOthers()) ??
      (await this.#placeAtTried(staysFirst ? from : undefined));
    if (place) return place;
    const { clock } = this.#dependencies;
    if (!from.isLeft && this.#failover.mayRepeat(clock.monotonic()))
      return await this.#next('same-account', from);
    throw this.#noPlace();
  }

  async #pause(): Promise<void> {
    const { clock } = this.#dependencies;
    const pauseMs = this.#failover.pauseMs(clock.monotonic());
    if (pauseMs === 0) return;
    await sleep(clock, pauseMs, this.#turn.signal.whole, true);
    this.#turn.signal.throwIfAborted();
  }

  /** Waits for an account where it is the only candidate, else takes one that is free. */
  #placeAt(
    path: Path,
    mayWait = this.#paths.length === 1 && this.#candidates.isLast,
  ): Place | undefined | Promise<Place | undefined> {
    return onceKnown(this.#borrowing.borrow(path, mayWait), (place) => {
      path.shortage = place instanceof Error ? place : undefined;
      if (place instanceof Error) return undefined;
      this.#path = path;
      return place;
    });
  }

  /** At a candidate that has not been tried. */
  #placeAtOthers(): Place | undefined | Promise<Place | undefined> {
    this.#failover.keptAccount = undefined;
    return onceKnown(this.#candidates.next(!this.#failover.hasFailed), (next) => {
      if (!next) return undefined;
      if (!this.#failover.maySend(next.route)) return this.#placeAtOthers();
      const placed = onceKnown(this.#take(next), (path) => this.#placeAt(path));
      return onceKnown(placed, (place) => place ?? this.#placeAtOthers());
    });
  }

  /** At one that has been tried: with an account that is free, else where one is soonest. */
  async #placeAtTried(justTried: Path | undefined): Promise<Place | undefined> {
    const open = this.#paths.filter(({ isLeft, route }) => !isLeft && this.#failover.maySend(route));
    const isOnly = this.#paths.length === 1;
    for (const path of open) {
      if (path === justTried || (isOnly && path.shortage)) continue;
      const place = await this.#placeAt(path);
      if (place) return place;
    }
    if (isOnly) return undefined;
    const [soonest] = open.sort((one, other) => waitAt(one) - waitAt(other));
    return soonest && Number.isFinite(waitAt(soonest)) ? await this.#placeAt(soonest, true) : undefined;
  }

  /** What the client is shown where nothing is left to try. */
  #noPlace(): AppError {
    const { routes } = this.#dependencies;
    const shortages = this.#paths.flatMap(({ shortage, route }) => {
      if (!shortage || (this.#failover.hasFailed && !isAboutOthers(shortage))) return [];
      return this.#failover.hasFailed
        ? [appErrorFromPool(shortage)]
        : [appErrorFromPool(shortage, route, routes.judge(route.provider))];
    });
    if (this.#failover.hasFailed || shortages.length > 0) return this.#failover.shown(shortages);
    return this.#candidates.refusal ?? AppError.from(new Error('No candidate takes this request.'));
  }

  /**
   * One attempt and its report to the pool. While nothing can be sent to the provider, another account would not help: the turn
   * waits with the one it has. The lease is always released.
   */
  async #use({ path, lease, note }: Place): Promise<Failure | undefined> {
    const { reach, reporter, clock, refusals } = this.#dependencies;
    const { id } = lease.account;
    const provider = path.route.provider.name;
    this.#failover.begin(path.route, clock.monotonic());
    path.firstContentMs = this.#candidates.firstContentMsOf(path.candidate);
    // Once: if all are slow, waiting is better than asking again and again.
    path.firstWordMs = this.#failover.hasFailed ? undefined : this.#candidates.firstWordMsOf(path.candidate);
    const refusedNow = path.refusals.map(({ sendAgain }) => sendAgain.how);
    path.changes = new Set([...refusedNow, ...refusals.changesOf(path, id)]);
    let error: AppError | undefined;
    try {
      for (let isAgain = true; isAgain; ) {
        const attempt = new Attempt(this.#dependencies, this.#turn, lease, path, note.span?.passedOn);
        this.#attempt = attempt;
        this.#usage = undefined;
        path.output.begin(attempt);
        const mayTry = reach.isOut(provider) ? await this.#untilReached(provider) : 'yes';
        const wasProbe = mayTry === 'as-probe';
        try {
          const begunAt = clock.monotonic();
          error = mayTry === 'too-late' ? unreachable(error) : await attempt.run();
          isAgain = this.#isToWait(attempt, begunAt, error, wasProbe);
        } finally {
          if (wasProbe) reach.probeEnded(provider);
        }
      }
      this.#turn.record.attemptEnded(note, this.#attempt, error);
      const { usage } = note;
      if (!error) {
        reporter.succeeded(lease, usage, this.#suspects);
        this.#steps?.debug({ account_id: id, outcome: 'success' }, 'the outcome is reported');
        return undefined;
      }
      const report = await reporter.failed(lease, error, usage, this.#suspects);
      note.accountStatus = report?.status ?? undefined;
      this.#steps?.debug({ account_id: id, ...reported(error, report) }, 'the outcome is reported');
      return { error, report };
    } catch (thrown) {
      // Never sent, or the fault is ours.
      if (!note.outcome) this.#turn.record.attemptEnded(note, this.#attempt, AppError.from(thrown));
      throw thrown;
    } finally {
      this.#usage = note.usage;
      lease.release();
    }
  }

  #untilReached(provider: string): Promise<MayTry> {
    const { reach, clock } = this.#dependencies;
    return this.#borrowing.waiting((deadline) => {
      const until = this.#candidates.isLast ? deadline : clock.monotonic();
      return reach.mayTry(provider, until, this.#turn.signal.whole);
    });
  }

  /** What an attempt shows of its provider and account. True: nothing could be sent, and no other candidate could do better. */
  #isToWait(attempt: Attempt, begunAt: number, error: AppError | undefined, wasProbe: boolean): boolean {
    const { reach, affinity, clock } = this.#dependencies;
    const provider = attempt.route.provider.name;
    if (error?.isUnreachable) {
      this.#borrowing.hasWaitedSince(begunAt);
      reach.unreachable(provider, wasProbe);
      const reason = error.message;
      this.#steps?.debug({ provider, reason }, 'the provider cannot be reached; the turn waits');
      return this.#candidates.isLast && !this.#turn.signal.aborted;
    }
    if (!error) reach.connected(provider);
    const isSilent = error?.code === 'upstream_timeout' && error.fault === 'upstream';
    const firstContentAt = isSilent ? clock.monotonic() : attempt.firstContentAt;
    if (firstContentAt !== undefined)
      affinity.latency.note(attempt.lease.account.id, firstContentAt - begunAt);
    return false;
  }

  #decide({ error, report }: Failure, { account }: TurnLease, path: Path): NextStep {
    const { route, request } = path;
    const { models, logger, clock } = this.#dependencies;
    const details = {
      request_id: this.#turn.requestId,
      account_id: account.id,
      provider: route.provider.name,
      model: request.model,
      err: error,
    };
    if (error.isModelRefusedToAccount) {
      models.refused(route.provider, route.model, account.id);
    } else {
      const change = this.#failover.maySend(route) ? changed(path, error, account.id) : undefined;
      if (change !== undefined) {
        logger.info(details, change);
        this.#failover.keptAccount = account.id;
        return 'same-account';
      }
    }
    const step = this.#failover.next(error, account, report, route, clock.monotonic());
    this.#steps?.debug({ account_id: account.id, reason: error.code, next: step }, 'the attempt failed');
    if (step === 'end') throw this.#failover.shown();
    if (isTooLongForModel(error)) this.#candidates.mustHoldMoreThan(route, this.#paths);
    if (step !== 'same-account') logger.info(details, 'the attempt failed; another account is looked for');
    return step;
  }

  #result(error: AppError | undefined): TurnResult {
    const firstContentAt = this.#attempt?.firstContentAt;
    let conversation: ConversationResult | undefined;
    for (const path of this.#paths) {
      const ended = path.conversation.end();
      if (path === this.#path) conversation = ended;
    }
    return {
      error,
      attempt: this.#attempt,
      attempts: this.#failover.attempts,
      route: this.#path?.route,
      conversation,
      usage: [this.#rejected?.usage, this.#broken?.usage, this.#usage].reduce(sumUsage, undefined),
      firstContentMs:
        firstContentAt === undefined ? undefined : Math.round(firstContentAt - this.#failover.startedAt),
    };
  }
}
