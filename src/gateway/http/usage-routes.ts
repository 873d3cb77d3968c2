import { Readable } from 'node:stream';
import type { FastifyReply } from 'fastify';
import { z } from 'zod';
import { AppError, refused } from '../../core/errors.ts';
import { givenFields } from '../../core/null-fields.ts';
import {
  type UsageReport,
  type UsageTurn,
  usageColumns,
  usageGroups,
  usageTurn,
} from '../../core/shown-usage.ts';
import { DatabaseError } from '../../db/database.ts';
import { csvLine } from '../../lib/csv.ts';
import { parseFields } from '../../protocols/shared/request.ts';
import { keyIdOf } from '../records/shown-turn.ts';
import type { TurnPage, TurnPlace } from '../usage/read-usage.ts';
import { type Period, periodBefore, periodNames, periodOf, timeZoneName } from '../usage/usage-periods.ts';
import {
  cursorOf,
  placeOf,
  reportUsage,
  shownFigures,
  shownRow,
  shownTurnOf,
  TooManyRows,
} from '../usage/usage-report.ts';
import * as answers from './api-answers.ts';
import type { GatewayHttp, GatewayRoute } from './gateway-http.ts';

const text = z.string().min(1).max(300).optional();
const times = {
  period: z.enum(periodNames).optional(),
  /** A day in the time zone, or a time with its offset; the same of `to`, which is not in the period. */
  from: text,
  to: text,
  tz: timeZoneName.default('UTC'),
};
const filters = {
  /** Its id or its name. */
  key: text,
  /** Of the key, as its label is now. */
  owner: text,
  /** As the client named it. */
  model: text,
  answered_model: text,
  provider: text,
  /** How its id begins. */
  account: text,
  dialect: text,
  /** `success`, the code of an error, or `error` for any. */
  outcome: text,
};
const format = z.enum(['json', 'csv', 'jsonl']).default('json');

/** `model,day` or several of them. */
function groupsOf(names: readonly (typeof usageGroups)[number][]) {
  const group = z.enum([...names, 'hour', 'day']);
  const isKnown = (name: string) => group.safeParse(name).success;
  return (
    z
      .union([z.string(), z.array(z.string())])
      .transform((given) => [given].flat().flatMap((list) => list.split(',')))
      // What is wrong is said of the list as it was given, which has no places yet.
      .refine((list) => list.every(isKnown), `must be one or several of ${group.options.join(', ')}`)
      .pipe(z.array(group).max(4))
  );
}

const reportQuery = z.strictObject({
  ...times,
  ...filters,
  group: groupsOf(usageGroups).default([]),
  /** `before`: the same of the period of the same length before it. */
  compare: z.enum(['before']).optional(),
  format,
});
const turnsQuery = z.strictObject({
  ...times,
  ...filters,
  limit: z.coerce.number().int().min(1).max(1_000).default(100),
  /** The `next` of the page before, or the `cursor` of a turn. */
  before: z
    .string()
    .regex(/^\d{1,15}\.\d{1,15}$/, 'must be the "next" of a page or the "cursor" of a turn')
    .optional(),
  format,
});
const ownQuery = z.strictObject({
  ...times,
  /** Which accounts there are is the operator's affair. */
  group: groupsOf(usageGroups.filter((name) => name !== 'account')).default([]),
  compare: z.enum(['before']).optional(),
});

const exported = {
  200: { description: 'As asked for.', body: answers.usageReport, contentType: 'text/csv' },
};

export const usageRoutes: readonly GatewayRoute[] = [
  {
    method: 'GET',
    path: '/api/usage',
    summary: 'What turns used: tokens, cost, errors and times, summed up over a period by what you name',
    description:
      'Without a period: today. "group" is one or several of key, owner, model, answered_model, provider, account, dialect, outcome, and hour or ' +
      'day. Costs are as the upstream said, else by the prices of the catalogue; "unpriced_turns" counts those of which ' +
      'neither is known. With format=csv or jsonl the rows come as a file.',
    access: 'adminKey',
    query: reportQuery,
    answers: exported,
    async handle(service, request, reply) {
      const { format: wanted, ...query } = parseFields(reportQuery, givenFields(request.query));
      const report = await reportOf(service, query);
      if (wanted === 'json') return report;
      const columns = usageColumns(report);
      const lines = report.rows.map((row) =>
        wanted === 'jsonl' ? `${JSON.stringify(row)}\n` : csvLine(columns.map((name) => row[name] ?? null)),
      );
      const head = wanted === 'csv' ? [csvLine(columns)] : [];
      return asFile(reply, 'usage', wanted).send([...head, ...lines].join(''));
    },
  },
  {
    method: 'GET',
    path: '/api/usage/me',
    summary: 'What the key of this request has used',
    access: 'clientKey',
    query: ownQuery,
    answers: { 200: { description: 'The sums.', body: answers.usageReport } },
    handle(service, request) {
      const query = parseFields(ownQuery, givenFields(request.query));
      return reportOf(service, { ...query, key: keyIdOf(request.client) });
    },
  },
  {
    method: 'GET',
    path: '/api/usage/minutes',
    summary: 'How many turns ended in each of the last thirty minutes',
    description: 'From memory: of this instance alone, since it started.',
    access: 'adminKey',
    answers: { 200: { description: 'The minutes, the one that runs now last.', body: answers.usageMinutes } },
    handle: ({ records, usage: { now } }) => ({ minutes: records.minutes.latest(now()) }),
  },
  {
    method: 'GET',
    path: '/api/usage/turns',
    summary: 'The turns of a period one by one, the newest first',
    description:
      'With format=csv or jsonl all turns of the period come as a file, behind "before" if given; each has its "cursor", with which ' +
      'a transfer that broke off goes on.',
    access: 'adminKey',
    query: turnsQuery,
    answers: { 200: { description: 'One page.', body: answers.usageTurns, contentType: 'text/csv' } },
    async handle({ usage: { database, now } }, request, reply) {
      const query = parseFields(turnsQuery, givenFields(request.query));
      const { format: wanted, limit, before, period, from, to, tz, ...filter } = query;
      // A turn that ended in this millisecond is in it.
      const range = periodOf({ period, from, to, tz }, now() + 1);
      const list = (place: TurnPlace, most: number) =>
        answered(
          database.ask(({ listTurns }) =>
            listTurns({ filter, from: range.from, before: place, limit: most }),
          ),
        );
      let place: TurnPlace | null = before === undefined ? { at: range.to, id: 0 } : placeOf(before);
      if (wanted !== 'json') {
        // The first page is read before the head is sent, so that an error has its status.
        const first = await list(place, exportedAtOnce);
        const lines = Readable.from(exportedLines(first, (next) => list(next, exportedAtOnce), wanted));
        return asFile(reply, 'turns', wanted).send(lines);
      }
      const turns: UsageTurn[] = [];
      for (let looks = 0; looks < mostLooks && place && turns.length < limit; looks += 1) {
        const page: Awaited<ReturnType<typeof list>> = await list(place, limit - turns.length);
        turns.push(...page.turns.map(shownTurnOf));
        place = page.next;
      }
      return { turns, next: place && cursorOf(place) };
    },
  },
];

/** A page that few turns fit looks at a bounded number of them. */
const mostLooks = 20;
const exportedAtOnce = 1_000;

async function* exportedLines(
  first: TurnPage,
  list: (place: TurnPlace) => Promise<TurnPage>,
  format: 'csv' | 'jsonl',
): AsyncGenerator<string> {
  const columns = Object.keys(usageTurn.shape) as (keyof UsageTurn)[];
  if (format === 'csv') yield csvLine(columns);
  for (let page = first; ; page = await list(page.next)) {
    const turns = page.turns.map(shownTurnOf);
    const lines = turns.map((turn) =>
      format === 'csv' ? csvLine(columns.map((name) => turn[name])) : `${JSON.stringify(turn)}\n`,
    );
    if (lines.length > 0) yield lines.join('');
    if (!page.next) return;
  }
}

async function reportOf(
  { usage: { database, now } }: GatewayHttp,
  query: Omit<z.output<typeof reportQuery>, 'format'>,
): Promise<UsageReport> {
  const { period, from, to, tz, group, compare, ...filter } = query;
  const groups = group.filter((name) => name !== 'hour' && name !== 'day');
  if (group.includes('hour') && group.includes('day')) throw refused('group', 'takes one of hour and day');
  const step = group.find((name) => name === 'hour' || name === 'day');
  const at = now();
  const report = async (range: Period) => {
    const { rows, total } = await answered(
      reportUsage(database, { ...range, filter, groups, step, timeZone: tz }, at),
    );
    const iso = (time: number): string => new Date(time).toISOString();
    return { from: iso(range.from), to: iso(range.to), total: shownFigures(total), rows: rows.map(shownRow) };
  };
  const range = periodOf({ period, from, to, tz }, at);
  return {
    ...(await report(range)),
    time_zone: tz,
    group,
    before: compare === undefined ? null : await report(periodBefore(range, tz)),
  };
}

async function answered<Answer>(asked: Promise<Answer>): Promise<Answer> {
  try {
    return await asked;
  } catch (error) {
    if (error instanceof TooManyRows)
      throw refused('group', 'gives too many rows: choose a shorter period, fewer groups, or a filter');
    if (!(error instanceof DatabaseError)) throw error;
    throw new AppError(
      'storage_unavailable',
      'The database of the usage ledger does not answer; try again in a moment.',
      {
        cause: error,
        retryAfterMs: 5_000,
      },
    );
  }
}

function asFile(reply: FastifyReply, name: string, format: 'csv' | 'jsonl'): FastifyReply {
  return reply
    .type(format === 'csv' ? 'text/csv; charset=utf-8' : 'application/x-ndjson')
    .header('content-disposition', `attachment; filename="${name}.${format}"`);
}
