import { type Handling, handlingOf, without } from '../../core/capabilities.ts';
import { AppError } from '../../core/errors.ts';
import type { Outbound, OutboundTurn, TurnDecoder, UpstreamHeaders } from '../../core/protocol.ts';
import { type CallListener, type RunningCall, relayingOutbound } from '../../core/provider.ts';
import type { AskedRequest, TurnEvent, Usage } from '../../core/turn.ts';
import { debugLog } from '../../lib/log/logger.ts';
import { largeBytes, ownTurn } from '../../lib/process/own-turn.ts';
import { onceKnown } from '../../lib/tasks.ts';
import type { TraceHeaders } from '../../lib/telemetry/trace-headers.ts';
import type { TurnLease } from '../../pool-api/waiting-turns.ts';
import { type Stage, stagesOf } from '../emulation/stages.ts';
import { countedUsage, hasTokens, shownUsage } from '../emulation/token-count.ts';
import type { AskedTurn, PreparedTurn } from '../images/turn-images.ts';
import { providerAccountOf } from '../leases/lease-cache.ts';
import type { Route } from '../models/route.ts';
import { maxEntryBytes } from '../state/state-store.ts';
import { cacheKeyOf } from './affinity.ts';
import type { ClientTurn, TurnDependencies } from './client-turns.ts';
import { CollectedAnswer } from './collected-answer.ts';
import { withoutProofs } from './conversations.ts';
import type { Path } from './path.ts';
import { callUpstream } from './upstream.ts';

/** Room for an answer that repeats the largest request; no model writes a tenth of that. All of it is kept until the turn has ended. */
const mostOutputCharacters = 40_000_000;

/** One try to answer a turn, on one account, with what it has brought so far. */
export class Attempt implements CallListener {
  readonly route: Route;
  readonly lease: TurnLease;
  handling: Handling;
  /** What else of the request has no effect on this route, beside what the decoder ignored. */
  ignored: readonly string[];
  /** Where a person can watch the answer being made. */
  runUrl: string | undefined;

  readonly answer: CollectedAnswer;
  connectedAt: number | undefined;
  firstContentAt: number | undefined;
  /** Of the upstream's answer, where a turn is one exchange. */
  status: number | undefined;
  contentType = '';
  /** The client has seen some of the answer, so that no other account may begin it again. */
  isContentSent = false;
  /** What came with the error after which nothing could be sent. */
  unsent: readonly TurnEvent[] = [];

  readonly #dependencies: TurnDependencies;
  readonly #turn: ClientTurn;
  readonly #path: Path;
  readonly #traceHeaders: TraceHeaders | undefined;
  readonly #stages: readonly Stage[];
  readonly #ended = Promise.withResolvers<AppError | undefined>();
  #remembered: AskedTurn['remembered'];
  #call: RunningCall | undefined;
  #isClosed = false;
  #outbound: Outbound | undefined;
  #decoder: TurnDecoder | undefined;
  #isUsageUnsent = false;
  /** The upstream was stopped: it has more in mind than the client saw. */
  #isCut = false;
  #sentAt = 0;
  #listeningSince = 0;
  #hasAnswered = false;
  readonly #onAbort = (error: AppError): void => this.#call?.abort(error);

  /** `traceHeaders`: what the upstream gets of the turn's trace. */
  constructor(
    dependencies: TurnDependencies,
    turn: ClientTurn,
    lease: TurnLease,
    path: Path,
    traceHeaders?: TraceHeaders,
  ) {
    this.#traceHeaders = traceHeaders;
    this.#dependencies = dependencies;
    this.#turn = turn;
    this.#path = path;
    this.route = path.route;
    this.lease = lease;
    this.handling = path.handling;
    this.ignored = path.changes.has('without-effort') ? [...path.unchecked, 'reasoning'] : path.unchecked;
    const { content } = dependencies;
    this.answer = new CollectedAnswer(content?.isOf(turn.client) ? content.mostCharacters : 0);
    this.#stages = stagesOf(path.request, path.handling.emulated);
  }

  /** The answer comes in the client's own dialect. */
  get isRelayed(): boolean {
    return this.#path.relayed !== undefined;
  }

  /** What was used, by the upstream's figures or by ours. */
  get countedUsage(): Usage | undefined {
    const wasWorking = this.#turn.signal.aborted && this.#call?.isTaken === true;
    return countedUsage(this.answer, this.#path, wasWorking);
  }

  /**
   * Resolves to the error that ended it, or to nothing when the answer is complete. The error is the caller's to write out:
   * another attempt may still give the answer, or the rest of it.
   */
  run(): Promise<AppError | undefined> {
    const { account } = this.lease;
    this.#dependencies.models.noteTeam(this.route.provider, account);
    this.#remembered = this.#path.conversation.goOn(account.id);
    this.#turn.signal.listen(this.#onAbort);
    const { provider } = this.route;
    try {
      const prepared = this.#prepare();
      const baseUrl = provider.caller ? '' : provider.baseUrl();
      const isLarge = this.#turn.bytes >= largeBytes;
      // Mostly there is nothing to wait for.
      if (!(isLarge || prepared instanceof Promise || baseUrl instanceof Promise))
        this.#send(prepared, baseUrl);
      else this.#sendLater(prepared, baseUrl).catch((thrown: unknown) => this.#break(thrown));
    } catch (thrown) {
      this.#break(thrown);
    }
    return this.#ended.promise;
  }

  /** A fault of our own: it must not look like one of the account's. */
  #break(thrown: unknown): void {
    this.#release();
    this.#ended.reject(thrown);
  }

  #end(error?: AppError): void {
    if (this.#decoder?.isModelListOutdated) this.#dependencies.models.outdated(this.route.provider);
    const memory = !error && this.#isWhole ? this.#decoder?.memory() : undefined;
    if (memory) this.#path.conversation.remember(this.lease.account.id, this.answer, memory);
    this.#release();
    this.#ended.resolve(error);
  }

  #release(): void {
    this.#turn.signal.unlisten(this.#onAbort);
    if (this.#remembered && !this.#call?.isTaken) this.#path.conversation.restore();
  }

  /** The client saw all that the upstream said, and it is not too much to remember. */
  get #isWhole(): boolean {
    if (this.#isCut || this.#stages.some((stage) => stage.hasDropped)) return false;
    return this.#turn.bytes + this.answer.characters <= maxEntryBytes;
  }

  #prepare(): PreparedTurn | Promise<PreparedTurn> {
    const { route, images, changes } = this.#path;
    const request = changedRequest(this.#path);
    const { client, signal } = this.#turn;
    const limits = (route.provider.caller ?? route.provider.outbound).images;
    const takesDocuments = this.handling.native.has('documents');
    const rules = { hasVision: !route.isBlind, takesDocuments, limits };
    const remembered = this.#remembered;
    const prepare = (asked: AskedRequest): PreparedTurn | Promise<PreparedTurn> => {
      const turn = { request: asked, ...(remembered && { remembered }) };
      // Without images it is an upstream's turn as it stands.
      return images?.prepare(turn, rules, signal.whole) ?? { turn: turn as OutboundTurn, ignored: [] };
    };
    if (changes.has('without-proofs')) return prepare(withoutProofs(request));
    if (!route.provider.outbound?.wantsProofs) return prepare(request);
    return onceKnown(this.#dependencies.reasoning.completed(client.id, request), prepare);
  }

  async #sendLater(
    prepared: PreparedTurn | Promise<PreparedTurn>,
    baseUrl: string | Promise<string>,
  ): Promise<void> {
    const [turn, url] = await Promise.all([prepared, baseUrl]);
    await ownTurn(this.#turn.bytes);
    this.#send(turn, url);
  }

  #send({ turn, ignored }: PreparedTurn, baseUrl: string): void {
    if (ignored.length > 0) this.ignored = [...ignored, ...this.ignored];
    this.#turn.signal.throwIfAborted();
    const { dispatcher, userAgent, timeouts, listening, clock, running } = this.#dependencies;
    const { provider } = this.route;
    const account = providerAccountOf(this.lease.account);
    const watched = { timeouts, now: listening.now, listener: this };
    if (provider.caller) {
      // The provider's own way to carry a turn.
      this.#call = provider.caller.start({ ...watched, request: turn.request, account });
    } else {
      const { relayed, changes, outputCap } = this.#path;
      const leavesProofsOut = changes.has('without-proofs');
      const fillsReasoning = changes.has('with-reasoning');
      const relaying = relayed && relayingOutbound(provider, relayed);
      const outbound = relaying ?? provider.outbound;
      this.#outbound = outbound;
      const answer =
        relayed && relaying
          ? relaying.relay.open({ ...relayed, leavesProofsOut, fillsReasoning }, turn.request.model)
          : outbound.open({
              ...turn,
              fillsReasoning,
              mostOutputTokens: outputCap?.tokens,
              ...this.#caching,
            });
      this.#decoder = answer.decoder;
      if (answer.leftOut?.length)
        this.handling = handlingOf(this.#path.request, without(this.handling.native, answer.leftOut));
      this.#call = callUpstream({
        ...watched,
        dispatcher,
        baseUrl,
        needsHttp2: provider.needsHttp2 === true,
        outbound,
        answer,
        authHeaders: provider.authHeaders(account),
        traceHeaders: this.#traceHeaders,
        userAgent,
      });
    }
    this.#sentAt = clock.monotonic();
    this.#listeningSince = listening.now();
    // One that cannot be sent has ended before it was returned.
    if (!this.#isClosed) running.addCall(this);
  }

  get #caching(): Pick<OutboundTurn, 'cachesPrompts' | 'cacheKey'> {
    if (!this.#path.cachesPrompts) return {};
    const { affinityKey, client } = this.#turn;
    const key = affinityKey === undefined ? {} : { cacheKey: cacheKeyOf(client.id, affinityKey) };
    return { cachesPrompts: true, ...key };
  }

  checkTimeouts(now: number): void {
    const limitMs = this.#firstLimitMs;
    if (limitMs !== undefined && now - this.#listeningSince >= limitMs) {
      const message = `The upstream did not begin to answer for ${Math.round(limitMs / 1000)} seconds; try again.`;
      this.#call?.abort(new AppError('upstream_timeout', message));
    } else this.#call?.checkTimeouts(now);
  }

  /** How long the upstream may take to begin, where others could answer. */
  get #firstLimitMs(): number | undefined {
    if (this.firstContentAt !== undefined) return undefined;
    const { firstContentMs, firstWordMs, relayed } = this.#path;
    const hasAnswered = this.status !== undefined;
    if (!relayed || relayed.isStream) return firstContentMs ?? (hasAnswered ? undefined : firstWordMs);
    // A whole answer may be long in the making, with nothing to see: only silence as long as in the middle of a stream counts.
    if (firstContentMs === undefined || hasAnswered) return undefined;
    return Math.max(firstContentMs, this.#dependencies.timeouts.idleMs);
  }

  onConnected(): void {
    this.connectedAt ??= this.#dependencies.clock.monotonic();
    this.#dependencies.reach.connected(this.route.provider.name);
  }
  onHead(status: number, headers: UpstreamHeaders): void {
    this.status = status;
    this.contentType = String(headers['content-type'] ?? '');
    const { limits } = this.#dependencies;
    if (this.#outbound) limits.noteHead(this.lease.account, this.#outbound, this.route.model, headers);
  }
  onRunUrl(url: string): void {
    this.onConnected();
    this.runUrl = this.#dependencies.secrets.redact(url);
  }
  onClosed(): void {
    this.#isClosed = true;
    if (this.#call) this.#dependencies.running.deleteCall(this);
  }

  onEvents(events: readonly TurnEvent[]): boolean {
    if (!this.#hasAnswered) this.#noteAnswer(events[0]?.type);
    try {
      return this.#take(events);
    } catch (thrown) {
      this.#call?.discard();
      // What cannot be shown to the client still has its account, its figures and its record.
      if (thrown instanceof AppError) this.#fail(thrown, [{ type: 'error', error: thrown }]);
      else this.#break(thrown);
      return true;
    }
  }

  #noteAnswer(firstEvent: TurnEvent['type'] | undefined): void {
    this.#hasAnswered = true;
    const { logger, clock } = this.#dependencies;
    debugLog(logger)?.debug(
      {
        request_id: this.#turn.requestId,
        account_id: this.lease.account.id,
        status: this.status,
        first_event: firstEvent,
        after_ms: Math.round(clock.monotonic() - this.#sentAt),
      },
      'the upstream answers',
    );
  }

  /** Passes events on under the rules of one answer. False: the reader is behind. */
  #take(events: readonly TurnEvent[]): boolean {
    const { output } = this.#path;
    let batch = events;
    for (const stage of this.#stages) batch = stage.apply(batch);
    if (this.answer.take(batch, output.isBuffered) && this.firstContentAt === undefined) {
      this.firstContentAt = this.#dependencies.clock.monotonic();
      this.#dependencies.circuits.begunToAnswer(this.route);
    }
    if (this.answer.characters > mostOutputCharacters) batch = [{ type: 'error', error: tooLong() }];
    const last = batch[batch.length - 1];
    if (isTerminal(last) && last !== events[events.length - 1]) {
      this.#isCut = true;
      this.#call?.discard();
    }
    if (last?.type === 'error') this.#fail(last.error, batch);
    else if (last?.type === 'finish') this.#finish(last, batch);
    else if (this.firstContentAt === undefined) this.#isUsageUnsent = this.answer.usage !== undefined;
    else {
      if (!output.isBuffered) this.isContentSent = true;
      if (batch.length === 0) return true;
      const caughtUp = output.write(this.#withUnsentUsage(batch));
      if (caughtUp === undefined) return true;
      void caughtUp.then(() => this.#call?.resume());
      return false;
    }
    return true;
  }

  #fail(given: AppError, batch: readonly TurnEvent[]): void {
    const { secrets, limits } = this.#dependencies;
    const { account } = this.lease;
    const error = this.#outbound ? limits.judged(given, account, this.#outbound, this.route.model) : given;
    const { vendorAnswer } = error;
    const said = () => this.#path.relayed?.body ?? JSON.stringify(this.#path.request);
    secrets.clean(error, said);
    if (vendorAnswer) {
      error.vendorAnswer = { ...vendorAnswer, body: secrets.redact(vendorAnswer.body, said) };
    }
    // Before content that of the same batch stays here too.
    if (this.isContentSent) this.unsent = this.#withUnsentUsage(batch);
    this.#end(error);
  }

  #finish(last: Extract<TurnEvent, { type: 'finish' }>, batch: readonly TurnEvent[]): void {
    const { output, request } = this.#path;
    let events = this.#withUnsentUsage(batch);
    // Of an answer that is passed on as it is, nothing can be counted here.
    const { answer } = this;
    if (this.#turn.wantsUsage && !hasTokens(answer.usage) && !this.isRelayed) {
      answer.usage = shownUsage(answer.usage, request, answer);
      const content = batch.filter(({ type }) => type !== 'usage' && type !== 'finish');
      events = [...content, { type: 'usage', usage: answer.usage }, last];
    }
    const { toolCalls, reasoningProof } = answer;
    if (reasoningProof)
      this.#dependencies.reasoning.remember(this.#turn.client.id, toolCalls, reasoningProof);
    output.finish(answer.whole(last), events);
    this.#end();
  }

  /** Usage that came before the first content, where nothing was to be sent yet. */
  #withUnsentUsage(batch: readonly TurnEvent[]): readonly TurnEvent[] {
    if (!this.#isUsageUnsent || !hasTokens(this.answer.usage)) return batch;
    this.#isUsageUnsent = false;
    return [{ type: 'usage', usage: this.answer.usage }, ...batch];
  }
}

function changedRequest({ request, changes, outputCap }: Path): AskedRequest {
  if (!outputCap && changes.size === 0) return request;
  const { limits, reasoning } = request;
  return {
    ...request,
    ...(outputCap && { limits: { ...limits, maxOutputTokens: outputCap.tokens } }),
    ...(changes.has('without-summary') && { reasoning: { ...reasoning, isAsked: false } }),
    ...(changes.has('without-effort') && { reasoning: { effort: 'none' } }),
  };
}

/** The limit is ours, and the same request would meet it again. */
function tooLong(): AppError {
  return new AppError('upstream_protocol', 'The upstream sent more than an answer can hold; ask for less.', {
    fault: 'service',
    failover: 'no',
  });
}

function isTerminal(event: TurnEvent | undefined): boolean {
  return event?.type === 'finish' || event?.type === 'error';
}
