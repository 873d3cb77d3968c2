import { describe, expect, it } from 'vitest';
import { AppError } from '../../core/errors.ts';
import type { TurnContent } from '../../core/shown-turn.ts';
import { PoolError } from '../../pool-api/errors.ts';
import type { Route } from '../models/route.ts';
import { createManualClock } from '../testing/manual-clock.ts';
import { keptTurn, routeSummary, shownFromLedger, shownTurn } from './shown-turn.ts';
import {
  type AskedTurn,
  type TurnEnded,
  type TurnRecord,
  TurnRecords,
  type TurnTracing,
} from './turn-record.ts';

const clock = createManualClock();
const asked: AskedTurn = {
  requestId: 'r',
  client: { id: 'a-client-digest-that-is-long' },
  dialect: 'chat',
  model: 'fast',
  isStream: false,
};
const ended: TurnEnded = {
  outcome: 'success',
  message: undefined,
  status: 200,
  durationMs: 10,
  firstContentMs: 5,
  finish: 'stop',
  usage: { inputTokens: 3, outputTokens: 2 },
};
const route = (provider: string, model: string, more: Partial<Route> = {}) =>
  ({ provider: { name: provider }, model, ...more }) as Route;
const given = (one: Route, accountId: string) =>
  ({ route: one, accountId, choice: 'free', wasHeld: true, waitedMs: 0.4 }) as const;
const idsIn = (records: TurnRecords, before?: number) =>
  [...records.newest(before)].map((one) => one.asked.requestId);
const begin = (records: TurnRecords, requestId: string, model = asked.model) =>
  records.begin({ ...asked, requestId, model });

describe('the latest records', () => {
  it('come newest first, and page by page', () => {
    const records = new TurnRecords(clock, undefined, 10);
    const all = ['a', 'b', 'c'].map((id) => begin(records, id));
    expect(idsIn(records)).toEqual(['c', 'b', 'a']);
    expect(idsIn(records, all[1]?.sequence)).toEqual(['a']);
  });

  it('are so many at most, and one that is still running is there again once it ends', () => {
    const records = new TurnRecords(clock, undefined, 3);
    const first = begin(records, 'long');
    for (const id of ['a', 'b', 'c']) begin(records, id);
    expect(idsIn(records)).toEqual(['c', 'b', 'a']);
    records.end(first, ended);
    expect(idsIn(records)).toEqual(['long', 'c', 'b']);
  });

  it('are so many bytes at most, those of their ends included', () => {
    const records = new TurnRecords(clock, undefined, 1_000, 20_000);
    const message = 'x'.repeat(2_000);
    for (let turn = 0; turn < 100; turn += 1) {
      records.end(begin(records, `r${turn}`), { ...ended, message });
    }
    const kept = [...records.newest()];
    expect(kept.length).toBeGreaterThan(2);
    expect(kept.reduce((sum, { bytes }) => sum + bytes, 0)).toBeLessThanOrEqual(20_000);
    expect(kept[0]?.asked.requestId).toBe('r99');
  });

  it('give up what was said when they are dropped, once it is in their spans', () => {
    const said: unknown[] = [];
    const tracing = { begin: () => undefined, ended: ({ content }: TurnRecord) => said.push(content) };
    const records = new TurnRecords(clock, tracing as unknown as TurnTracing, 1_000, 5_000);
    const content = {
      input: [{ role: 'user', parts: [{ type: 'text', content: 'x'.repeat(3_000) }] }],
      output: [],
      omitted_messages: 0,
    } satisfies TurnContent;
    const [first, second] = [begin(records, 'a'), begin(records, 'b')];
    for (const record of [first, second]) {
      record.addContent(content);
      records.end(record, ended);
    }
    expect(said).toEqual([content, content]);
    expect(idsIn(records)).toEqual(['b']);
    expect([first.content, second.content]).toEqual([undefined, content]);
  });

  it('have one refused request of a client a second', () => {
    let now = 0;
    const records = new TurnRecords({ ...clock, monotonic: () => now }, undefined, 10);
    const refuse = (requestId: string, id: string) =>
      records.refuse({ ...asked, requestId, client: { id } }, { ...ended, outcome: 'invalid_request' });
    refuse('a', 'one');
    refuse('b', 'one');
    refuse('c', 'other');
    now = 1_000;
    refuse('d', 'one');
    expect(idsIn(records)).toEqual(['d', 'c', 'a']);
    expect(records.find('a')).toMatchObject({ running: 0, ended: { outcome: 'invalid_request' } });
  });

  it('are found by request id, the newest of several', () => {
    const records = new TurnRecords(clock, undefined, 10);
    begin(records, 'same');
    const second = begin(records, 'same');
    expect(records.find('same')).toBe(second);
    expect(records.find('other')).toBeUndefined();
  });

  it('have a bounded number of notes each', () => {
    const record = begin(new TurnRecords(clock), 'r');
    const candidate = record.candidate(route('p', 'm'));
    for (let at = 0; at < 100; at += 1) record.skipped(candidate, { kind: 'full', accountId: `acc_${at}` });
    const shown = shownTurn(record);
    expect(shown.candidates[0]?.skipped).toHaveLength(24);
    expect(shown.omitted).toBe(76);
  });
});

describe('a record', () => {
  function failedOver(): TurnRecord {
    const record = begin(new TurnRecords(clock), 'r');
    const other = record.candidate(route('anthropic', 'haiku', { barred: new Set(['acc_00000000-1']) }));
    record.noneLent(
      other,
      new PoolError('no_account_available', 'none', {
        shortage: {
          matching: 3,
          reasons: { rate_limited: 2, exhausted: 1 },
          holders: { exclusive: 0, shared: 0, gateway: 0 },
        },
      }),
    );
    const openai = record.candidate(route('openai', 'gpt-5'));
    const limit = {
      accountId: 'acc_77777777-1',
      reading: { name: '5h', usedPercent: 98.4 },
      until: Date.UTC(2026, 0, 1, 14, 2, 10),
      barredUntil: 0,
    };
    record.limited(openai, [limit]);
    record.limited(openai, [limit]);
    const error = new AppError('upstream_rate_limited', 'Slow down.');
    const first = record.attempt(given(openai.route, 'acc_11111111-1'));
    record.attemptEnded(first, { connectedAt: 2, firstContentAt: undefined, status: 429 }, error);
    record.attempt(given(openai.route, 'acc_22222222-1'));
    return record;
  }

  it('tells the evidence in words', () => {
    const { candidates, attempts, outcome, client_key } = shownTurn(failedOver());
    expect(candidates.map(({ skipped }) => skipped.map(({ says }) => says))).toEqual([
      [
        "account acc_00000000: the model is not in the account's own list, or refused to it",
        'no free account: 2 rate limited, 1 exhausted',
      ],
      ['account acc_77777777: 5h window 98 %, resets 2026-01-01 14:02:10 UTC'],
    ]);
    expect(attempts).toMatchObject([
      {
        account_id: 'acc_11111111-1',
        status: 429,
        connected_ms: 2,
        outcome: 'upstream_rate_limited',
        message: 'Slow down.',
      },
      { account_id: 'acc_22222222-1', outcome: null },
    ]);
    expect(outcome).toBe('running');
    expect(client_key).toBe('a-client-dig');
  });

  it('is shown out of the ledger as it is out of memory', () => {
    const records = new TurnRecords(clock);
    const plain = begin(records, 'plain');
    const { route: reached } = plain.candidate(route('p', 'm', { price: { input: 2, output: 10 } }));
    const attempt = plain.attempt(given(reached, 'acc_11111111-1'));
    plain.attemptEnded(attempt, { connectedAt: 2, firstContentAt: 3, status: 200 }, undefined);
    records.end(plain, { ...ended, usage: { inputTokens: 1_000, outputTokens: 500, isEstimated: true } });
    for (const record of [failedOver(), plain]) {
      const shown = shownTurn(record);
      const json = JSON.stringify(keptTurn(record));
      expect(shownFromLedger(json)).toEqual(shown);
      expect(shown.route).toBe(routeSummary(record));
      // Earlier releases.
      expect(shownFromLedger(JSON.stringify(shown))).toEqual(shown);
    }
  });

  it('is read by the places at which it was written once', () => {
    const json = `["id","trace",1767225600000,"chat","fast",true,"client","team","success",null,200,30,20,"stop","p/m#acc",
      [3,2,1,null,4,false,null,0.007],[["p","m",1,[{"reason":"full","account_id":"a","says":"b","at_ms":2}]]],
      [["p","m","acc","free",true,3,4,5,6,7,200,"success",null,"ready"]],8]`;
    expect(shownFromLedger(json)).toEqual({
      request_id: 'id',
      trace_id: 'trace',
      at: '2026-01-01T00:00:00.000Z',
      dialect: 'chat',
      model: 'fast',
      stream: true,
      client_key: 'client',
      key_name: 'team',
      outcome: 'success',
      message: null,
      status: 200,
      duration_ms: 30,
      first_content_ms: 20,
      finish: 'stop',
      route: 'p/m#acc',
      usage: {
        input_tokens: 3,
        output_tokens: 2,
        cached_input_tokens: 1,
        cache_write_tokens: null,
        reasoning_tokens: 4,
        is_estimated: false,
        credits: null,
        cost_cents: 0.7,
      },
      candidates: [
        {
          provider: 'p',
          model: 'm',
          at_ms: 1,
          skipped: [{ reason: 'full', account_id: 'a', says: 'b', at_ms: 2 }],
        },
      ],
      attempts: [
        {
          provider: 'p',
          model: 'm',
          account_id: 'acc',
          choice: 'free',
          from: 'held',
          waited_ms: 3,
          started_ms: 4,
          connected_ms: 5,
          first_content_ms: 6,
          ended_ms: 7,
          status: 200,
          outcome: 'success',
          message: null,
          account_status: 'ready',
          output_limit: null,
        },
      ],
      omitted: 8,
    });
  });

  it('has the cost by the price of the model that answered, and none where that is not known', () => {
    const costOf = (price?: Route['price'], costCents?: number) => {
      const records = new TurnRecords(clock);
      const record = begin(records, 'r');
      record.attempt(given(route('p', 'm', { price }), 'acc_11111111-1'));
      const usage = { inputTokens: 1_000, outputTokens: 500, ...(costCents !== undefined && { costCents }) };
      records.end(record, { ...ended, usage });
      return shownTurn(record).usage?.cost_cents;
    };
    expect(costOf({ input: 2, output: 10 })).toBe(0.7);
    expect(costOf({ input: 2, output: 10 }, 3)).toBe(3);
    expect(costOf()).toBeNull();
  });

  it('is one line for a header', () => {
    expect(routeSummary(failedOver())).toBe(
      'openai/gpt-5#acc_22222222; attempts=2; tried=openai/gpt-5#acc_11111111:upstream_rate_limited; passed=anthropic/haiku:none-lent',
    );
    const plain = begin(new TurnRecords(clock), 'r');
    expect(routeSummary(plain)).toBe('none; attempts=0');
    const odd = plain.candidate(route('p', 'm\n\u00fc"'));
    plain.attempt(given(odd.route, 'acc_11111111-1'));
    expect(routeSummary(plain)).toBe('p/m%0A%C3%BC"#acc_11111111; attempts=1');
    for (let at = 0; at < 100; at += 1)
      plain.skipped(plain.candidate(route('p', 'm'.repeat(900))), { kind: 'field', message: 'x' });
    expect(routeSummary(plain).length).toBeLessThanOrEqual(1_000);
  });

  it('is shown without characters that turn text around or hide it', () => {
    const records = new TurnRecords(clock);
    const record = begin(records, 'r', 'gpt\u202e5-\u200bx');
    const { route: odd } = record.candidate(route('p', 'm\u001b[2J\n\u2066'));
    const error = new AppError('upstream_unavailable', 'no\u202eon');
    record.attemptEnded(
      record.attempt(given(odd, 'acc_11111111-1')),
      { connectedAt: 2, firstContentAt: undefined, status: 500 },
      error,
    );
    records.end(record, { ...ended, outcome: error.code, message: error.message });
    const { model, message, candidates, attempts } = shownTurn(record);
    expect([model, message]).toEqual(['gpt\\u{202e}5-\\u{200b}x', 'no\\u{202e}on']);
    for (const shown of [candidates[0], attempts[0]]) expect(shown?.model).toBe('m\\u{1b}[2J \\u{2066}');
    expect(attempts[0]?.message).toBe(message);
  });

  it('has the first error of its choices, and the usage of all', () => {
    const records = new TurnRecords(clock);
    const record = begin(records, 'r');
    records.end(record, ended);
    records.end(record, { ...ended, outcome: 'upstream_timeout', message: 'late', durationMs: 30 });
    expect(shownTurn(record)).toMatchObject({
      outcome: 'upstream_timeout',
      message: 'late',
      duration_ms: 30,
      usage: { input_tokens: 6, output_tokens: 4, cost_cents: null },
    });
  });
});
