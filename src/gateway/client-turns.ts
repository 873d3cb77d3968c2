import { AppError } from '../core/errors.ts';
import type { DecodedTurn, Inbound } from '../core/protocol.ts';
import type { AskedRequest } from '../core/turn.ts';
import { debugLog, type Logger } from '../lib/logger.ts';
import type { TurnOutput } from './attempt.ts';
import { runCheckedTurn } from './checked-answer.ts';
import { checkSchema } from './json-schema.ts';
import type { GatewayMetrics } from './metrics.ts';
import type { TurnDependencies, TurnSummary } from './run-turn.ts';
import { type TurnImages, turnImagesOf } from './turn-images.ts';

/** A turn as a client asked for it, whatever carries its answer: a response, a WebSocket, or nothing but the store. */
export interface ClientTurn {
  readonly protocol: Inbound<unknown>['name'];
  readonly decoded: DecodedTurn<unknown>;
  /** About how many bytes the request has. */
  readonly bytes: number;
  readonly clientId: string;
  /** The session as a header names it, which says more than the body. */
  readonly affinityKey?: string | undefined;
  readonly requestId: string;
  readonly wantsUsage: boolean;
  readonly output: TurnOutput;
  /** Aborts when nobody waits any more or the gateway stops; the reason is an AppError. */
  readonly signal: AbortSignal;
  /** The HTTP status the client got, for the log. */
  status(): number;
}

export interface ClientTurns {
  /** Refuses what no turn can be made of. Throws AppError. */
  check(decoded: DecodedTurn<unknown>): void;
  /** Carries the turn to its end, counts and logs it. */
  run(turn: ClientTurn): Promise<TurnSummary>;
  /** From now on `check` refuses every turn. */
  close(): void;
}

/** How much was asked for, and nothing of what was said. */
function askedFields({ protocol, decoded, bytes }: ClientTurn) {
  const { model, messages, tools, reasoning } = decoded.request;
  return {
    dialect: protocol,
    model,
    effort: reasoning.effort,
    stream: decoded.isStream,
    choices: decoded.choices,
    messages: messages.length,
    tools: tools.length,
    bytes,
  };
}

function tooManyChoices(most: number): AppError {
  const message =
    most === 1
      ? 'n: this gateway gives one answer to a request: send n: 1, leave it out, or ask its operator to set MAX_CHOICES.'
      : `n: this gateway gives at most ${most} answers to a request: send a smaller number.`;
  return new AppError('invalid_request', message, { param: 'n' });
}

export function createClientTurns(
  turns: TurnDependencies,
  metrics: Pick<GatewayMetrics, 'turnEnded'>,
  logger: Logger,
): ClientTurns {
  const { clock } = turns;
  let isClosing = false;
  /** The choices of one request are so many turns, and want the same images. */
  const imagesOf = new WeakMap<AskedRequest, TurnImages>();

  function imagesFor(request: AskedRequest): TurnImages | undefined {
    const images = imagesOf.get(request) ?? turnImagesOf(request, turns.imageFetcher);
    if (images) imagesOf.set(request, images);
    return images;
  }

  function log(turn: ClientTurn, summary: TurnSummary, durationMs: number): void {
    const { decoded } = turn;
    const line = {
      request_id: turn.requestId,
      dialect: turn.protocol,
      model: decoded.request.model,
      upstream_model: summary.upstreamModel,
      provider: summary.provider,
      account_id: summary.accountId,
      stream: decoded.isStream,
      outcome: summary.error?.code ?? 'success',
      status: summary.error?.code === 'cancelled' ? 499 : turn.status(),
      attempts: summary.attempts,
      conversation: summary.conversation,
      finish: summary.finish,
      duration_ms: durationMs,
      first_content_ms: summary.firstContentMs,
      usage: summary.usage,
    };
    if (summary.error === undefined || summary.error.code === 'cancelled') logger.info(line, 'turn');
    else logger.warn({ ...line, err: summary.error }, 'turn');
  }

  return {
    check({ request, choices = 1 }) {
      if (choices > turns.maxChoices) throw tooManyChoices(turns.maxChoices);
      const { responseFormat: format } = request;
      if (format.type === 'json-schema') checkSchema(format.schema, `${format.param}.schema`);
      imagesFor(request)?.check(request);
      if (isClosing) {
        throw new AppError('shutting_down', 'The gateway is stopping; try again in a moment.', {
          retryAfterMs: 5_000,
        });
      }
    },

    async run(turn) {
      const startedAt = clock.monotonic();
      const { protocol, decoded, clientId, wantsUsage, output, signal } = turn;
      const turnLogger = logger.child({ request_id: turn.requestId });
      const images = imagesFor(decoded.request);
      debugLog(turnLogger)?.debug(askedFields(turn), 'a turn begins');
      const checked = {
        request: decoded.request,
        bytes: turn.bytes,
        clientId,
        affinityKey: turn.affinityKey ?? decoded.affinityKey,
        wantsUsage,
        output,
        images,
        signal,
        logger: turnLogger,
      };
      const run = () => runCheckedTurn(turns, checked);
      const summary = await (images ? images.during(clientId, run) : run());
      const durationMs = Math.round(clock.monotonic() - startedAt);
      const { model } = decoded.request;
      metrics.turnEnded({ protocol, model, isStream: decoded.isStream, durationMs, summary });
      log(turn, summary, durationMs);
      return summary;
    },

    close() {
      isClosing = true;
    },
  };
}
