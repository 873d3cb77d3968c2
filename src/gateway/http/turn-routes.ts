import { z } from 'zod';
import { AppError } from '../../core/errors.ts';
import { givenFields } from '../../core/null-fields.ts';
import type { ShownTurn } from '../../core/shown-turn.ts';
import { DatabaseError } from '../../db/database.ts';
import { parseFields } from '../../protocols/shared/request.ts';
import { shownClient, shownFromLedger, shownTurn } from '../records/shown-turn.ts';
import type { TurnRecord } from '../records/turn-record.ts';
import * as answers from './api-answers.ts';
import type { GatewayRoute } from './gateway-http.ts';

const turnsQuery = z.strictObject({
  /** `success`, `running`, the code of an error, or `error` for any. */
  outcome: z.string().optional(),
  provider: z.string().optional(),
  /** As the client named it, or as an upstream does. */
  model: z.string().optional(),
  /** How its id begins. */
  account: z.string().min(4).max(128).optional(),
  /** `client_key` or `key_name` of a turn. */
  client_key: z.string().optional(),
  since: z.iso.datetime({ offset: true }).optional(),
  min_duration_ms: z.coerce.number().int().min(0).optional(),
  limit: z.coerce.number().int().min(1).max(500).default(50),
  /** The `next_before` of the page before. */
  before: z.coerce.number().int().min(0).optional(),
});
type Filter = z.output<typeof turnsQuery>;

/** What the gateway has decided about its turns. */
export const turnRoutes: readonly GatewayRoute[] = [
  {
    method: 'GET',
    path: '/api/turns',
    summary: 'The latest turns of this gateway, the newest first',
    description: 'From memory: about the last 5,000, of this instance alone.',
    access: 'adminKey',
    query: turnsQuery,
    answers: { 200: { description: 'One page.', body: answers.turnList } },
    handle({ records }, request) {
      const { limit, before, ...filter } = parseFields(turnsQuery, givenFields(request.query));
      const turns: ShownTurn[] = [];
      let next: number | null = null;
      for (const record of records.newest(before)) {
        if (!matches(record, filter)) continue;
        if (turns.length === limit) return { turns, next_before: next };
        turns.push(shownTurn(record));
        next = record.sequence;
      }
      return { turns, next_before: null };
    },
  },
  {
    method: 'GET',
    path: '/api/turns/{id}',
    summary: 'Why one turn went as it did, by its request id',
    description:
      'The candidates and accounts that were looked at, why each was passed over, the attempts with their times, and the outcome. ' +
      'Of several turns with one request id the newest is shown.',
    access: 'adminKey',
    answers: {
      200: { description: 'The turn.', body: answers.turn },
      404: {
        description: 'No turn with that id is in memory or in the usage ledger.',
        body: answers.errorAnswer,
      },
    },
    async handle({ records, usage: { database } }, request) {
      const { id } = request.params;
      const record = records.find(id);
      if (record) return { ...shownTurn(record), content: record.content ?? null };
      const kept = await database.ask(({ recordOf }) => recordOf(id)).catch(noLedger);
      if (kept !== undefined) return { ...shownFromLedger(kept), content: null };
      const message =
        'No turn with that request id is in the memory of this gateway, nor in the usage ledger: both keep the latest only.';
      throw new AppError('not_found', message);
    },
  },
];

/** Without its database the memory is all there is. */
function noLedger(error: unknown): undefined {
  if (!(error instanceof DatabaseError)) throw error;
}

function matches(
  { asked, at, ended, attempts, candidates }: TurnRecord,
  { outcome, provider, model, account, client_key, since, min_duration_ms }: Omit<Filter, 'limit' | 'before'>,
): boolean {
  const became = ended?.outcome ?? 'running';
  const isFailed = became !== 'running' && became !== 'success';
  return (
    (outcome === undefined || outcome === became || (outcome === 'error' && isFailed)) &&
    (provider === undefined || candidates.some(({ route }) => route.provider.name === provider)) &&
    (model === undefined || asked.model === model || candidates.some(({ route }) => route.model === model)) &&
    (account === undefined || attempts.some(({ accountId }) => accountId.startsWith(account))) &&
    (client_key === undefined ||
      [shownClient(asked.client.id), asked.client.managed?.name].includes(client_key)) &&
    (since === undefined || at >= Date.parse(since)) &&
    (min_duration_ms === undefined || (ended !== undefined && ended.durationMs >= min_duration_ms))
  );
}
