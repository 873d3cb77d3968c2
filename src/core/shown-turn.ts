import { z } from 'zod';

const isoTime = z.iso.datetime({ offset: true });
const milliseconds = z.int().nullable();

/** Why one candidate, or one account of it, was passed over. */
export const shownSkip = z.object({
  reason: z.enum(['limit', 'full', 'none_lent', 'field', 'circuit', 'models']),
  account_id: z.string().nullable(),
  /** The evidence in words. */
  says: z.string(),
  at_ms: z.int(),
});

const attempt = z.object({
  provider: z.string(),
  model: z.string(),
  account_id: z.string(),
  /** Why this account. */
  choice: z.enum(['same', 'conversation', 'session', 'free']),
  /** `held`: by this gateway, without a call to the pool. */
  from: z.enum(['held', 'pool']),
  /** How long it waited for the account. */
  waited_ms: z.int(),
  /** Since the turn began, as are the next. */
  started_ms: z.int(),
  connected_ms: milliseconds,
  first_content_ms: milliseconds,
  ended_ms: milliseconds,
  /** Of the upstream's answer. */
  status: z.int().nullable(),
  /** `success` or the code of an error; null while it runs. */
  outcome: z.string().nullable(),
  message: z.string().nullable(),
  /** How the account stood after the report, where the pool said so. */
  account_status: z.string().nullable(),
  /**
   * A shorter answer was asked for than the request would ask for: so many tokens, as the configuration file says, or the upstream when
   * it refused more, in this turn or at an earlier one. Older gateways do not tell.
   */
  output_limit: z
    .object({ tokens: z.int(), from: z.enum(['configured', 'earlier_refusal', 'refusal']) })
    .nullable()
    .default(null),
});

/** One turn of the gateway, as its operator sees it: what was looked at, tried and decided. */
export const shownTurn = z.object({
  request_id: z.string(),
  /** Of its OpenTelemetry trace; null where none is sent. */
  trace_id: z.string().nullable().default(null),
  at: isoTime,
  dialect: z.string(),
  /** As the client named it. */
  model: z.string(),
  stream: z.boolean(),
  /** Tells clients apart without naming their key. */
  client_key: z.string(),
  /** Of a key that an operator made; older gateways do not tell. */
  key_name: z.string().nullable().default(null),
  /** `success`, the code of an error, or `running`. */
  outcome: z.string(),
  message: z.string().nullable(),
  /** Of the HTTP answer. */
  status: z.int().nullable(),
  duration_ms: milliseconds,
  first_content_ms: milliseconds,
  finish: z.string().nullable(),
  /** What the header `x-warp2api-route` says. */
  route: z.string(),
  usage: z
    .object({
      input_tokens: z.int(),
      output_tokens: z.int(),
      cached_input_tokens: z.int().nullable(),
      cache_write_tokens: z.int().nullable(),
      reasoning_tokens: z.int().nullable(),
      is_estimated: z.boolean(),
      credits: z.number().nullable(),
      /** As the upstream said, else by the prices of the catalogue; null where neither is known. */
      cost_cents: z.number().nullable(),
    })
    .nullable(),
  candidates: z.array(
    z.object({
      provider: z.string(),
      model: z.string(),
      /** When it was looked at, since the turn began. */
      at_ms: z.int(),
      skipped: z.array(shownSkip),
    }),
  ),
  attempts: z.array(attempt),
  /** Further notes that were not kept. */
  omitted: z.int(),
});
export type ShownTurn = z.infer<typeof shownTurn>;

const contentMessage = z.object({
  role: z.enum(['system', 'user', 'assistant', 'tool']),
  parts: z.array(
    z.object({
      /** `relayed`: an answer in the client's dialect as it came. */
      type: z.enum(['text', 'refusal', 'reasoning', 'relayed', 'tool_call', 'tool_call_response', 'file']),
      /** Of a tool. */
      name: z.string().optional(),
      content: z.string(),
    }),
  ),
});

/** What was said in a turn, where LOG_CONTENT keeps that: cut, and without what looks secret. */
export const turnContent = z.object({
  /** The last messages that there was room for. */
  input: z.array(contentMessage),
  /** Messages before those. */
  omitted_messages: z.int(),
  output: z.array(contentMessage),
});
export type TurnContent = z.infer<typeof turnContent>;

/** Content is shown of one turn at a time. */
export const shownTurnWithContent = shownTurn.extend({ content: turnContent.nullable() });

export const shownTurns = z.object({
  turns: z.array(shownTurn),
  /** For the next page; null after the last. */
  next_before: z.int().nullable(),
});
