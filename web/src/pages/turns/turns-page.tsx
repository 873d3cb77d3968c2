import './turns.css';
import { useEffect, useRef } from 'preact/hooks';
import type { ShownTurn } from '../../../../src/core/shown-turn.ts';
import { api, useLoaded } from '../../api.ts';
import { Button } from '../../components/button.tsx';
import { Badge, Empty, Fault, outcomeTone, PageHead, Shown } from '../../components/page.tsx';
import { type Column, Table } from '../../components/table.tsx';
import { Time } from '../../components/time.tsx';
import { now, shownCompact, shownDuration, shownNumber } from '../../format.ts';
import { turnChanges } from '../../live.ts';
import { goTo, linkTo, place } from '../../navigation.ts';
import { useOlder } from '../../older.ts';
import { frameText } from '../../texts/frame.ts';
import { turnsText } from '../../texts/turns.ts';
import { byAccountId, hasFilters, TurnFilters, turnQuery } from './filters.tsx';
import { type ListedTurn, listedOf, loadOlder, notAmong } from './listed-turn.ts';
import { shownOutcome } from './shown-names.ts';
import { TurnView } from './turn-view.tsx';

interface TurnList {
  readonly turns: readonly ShownTurn[];
}

const latest = 100;
/** One answer has no more. */
const mostRunning = 500;
/** Turns that run change without an event. */
const everyMs = 3_000;

export function TurnsPage() {
  const [id] = place.value.rest;
  return id === undefined ? <AllTurns /> : <TurnView key={id} id={id} />;
}

/** The latest turns and all that run from the memory of the gateway, and behind them those of the ledger. */
function AllTurns() {
  const text = turnsText();
  const given = turnQuery(place.value.filters);
  const asked = JSON.stringify(given);
  const listed = useRef<readonly ListedTurn[]>([]);
  const older = useOlder(
    async (before: string, abort) =>
      loadOlder(await byAccountId(given, abort), before, listed.current, abort),
    [asked],
  );
  const loaded = useLoaded(
    async (abort) => {
      const query = await byAccountId(given, abort);
      const list = async (which: typeof query, limit: number) =>
        (await api.get<TurnList>('/api/turns', { ...which, limit }, abort)).turns;
      const found = await list(query, query.outcome === 'running' ? mostRunning : latest);
      const turns = [...found];
      const ids = new Set(found.map(({ request_id }) => request_id));
      // After a while without a look there are turns between these and those that are listed.
      if (older.pages.peek() && found.length >= latest && !listed.current.some(({ id }) => ids.has(id)))
        older.forget();
      if (found.length === latest && query.outcome === undefined) {
        const behind = await list({ ...query, outcome: 'running' }, mostRunning);
        turns.push(...behind.filter(({ request_id }) => !ids.has(request_id)));
        for (const { request_id } of behind) ids.add(request_id);
      }
      if (!older.pages.peek()) return turns;
      const running = listed.current.filter(({ id, durationMs }) => durationMs === null && !ids.has(id));
      // One that a restart has cut off is in no memory.
      const others = running.map(({ id }) =>
        api.get<ShownTurn>(`/api/turns/${encodeURIComponent(id)}`, {}, abort).catch(() => []),
      );
      return turns.concat(...(await Promise.all(others)));
    },
    [asked],
    everyMs,
    () => turnChanges.value,
  );
  // A gateway that has just started remembers none: its ledger does.
  const latestTurns = loaded.value.value;
  const isBare = latestTurns?.length === 0 && !hasFilters(place.value.filters);
  useEffect(() => {
    if (isBare && !older.pages.peek()) void older.more('');
  }, [isBare]);
  return (
    <>
      <PageHead title={frameText().turns} lead={text.lead} />
      <div class="stack">
        <TurnFilters turns={latestTurns ?? []} />
        <Shown of={loaded}>
          {(turns) => {
            const pages = older.pages.value;
            const rows = turns.map(listedOf);
            // What has left the latest stays in a list that goes on behind them.
            const left = pages ? listed.current.filter(({ durationMs }) => durationMs !== null) : [];
            rows.push(...left.filter(notAmong(rows)));
            rows.push(...(pages?.items ?? []).filter(notAmong(rows)));
            rows.sort((one, other) => other.at - one.at);
            listed.current = rows;
            const next = pages ? pages.next : '';
            return (
              <>
                <Table
                  label={frameText().turns}
                  columns={columns()}
                  rows={rows}
                  keyOf={({ id, at, cursor = '' }) => id + at + cursor}
                  onOpen={({ id }) => goTo('turns', [id])}
                  empty={
                    hasFilters(place.value.filters) ? (
                      <Empty
                        title={text.noneMatch}
                        action={<Button onClick={() => goTo('turns')}>{text.clearFilters}</Button>}
                      />
                    ) : (
                      <Empty title={text.none}>{text.noneHint}</Empty>
                    )
                  }
                />
                {older.error.value && <Fault error={older.error.value} />}
                {next !== null && given.outcome !== 'running' && (
                  <div class="row">
                    <Button onClick={() => older.more(next)}>{text.older}</Button>
                    <span class="quiet">{text.olderFrom}</span>
                  </div>
                )}
                {next === null && rows.length > 0 && <p class="quiet">{text.noOlder}</p>}
              </>
            );
          }}
        </Shown>
      </div>
    </>
  );
}

function columns(): readonly Column<ListedTurn>[] {
  const text = turnsText();
  const ranMs = ({ durationMs, at }: ListedTurn) => durationMs ?? Math.max(0, now.value - at);
  return [
    {
      id: 'time',
      label: text.time,
      sort: ({ at }) => at,
      isDescendingFirst: true,
      cell: ({ at }) => <Time at={at} relative />,
    },
    {
      id: 'model',
      label: text.model,
      sort: ({ model }) => model,
      cell: (turn) => <ModelCell turn={turn} />,
    },
    {
      id: 'key',
      label: text.key,
      sort: ({ key }) => key,
      cell: ({ key }) => <span class="cut key-name">{key}</span>,
    },
    {
      id: 'outcome',
      label: text.outcome,
      sort: ({ outcome }) => outcome,
      cell: ({ outcome }) => <Badge tone={outcomeTone(outcome)}>{shownOutcome(outcome)}</Badge>,
    },
    {
      id: 'first',
      label: text.firstContent,
      align: 'end',
      isDescendingFirst: true,
      sort: ({ firstContentMs }) => firstContentMs,
      cell: ({ firstContentMs: ms }) =>
        ms === null ? <span class="quiet">–</span> : <span>{shownDuration(ms)}</span>,
    },
    {
      id: 'duration',
      label: text.duration,
      align: 'end',
      isDescendingFirst: true,
      sort: ranMs,
      cell: (turn) => shownDuration(ranMs(turn)),
    },
    {
      id: 'tokens',
      label: text.tokens,
      align: 'end',
      isDescendingFirst: true,
      sort: ({ usage }) => usage && usage.input + usage.output,
      cell: ({ usage }) => <Tokens usage={usage} />,
    },
    {
      id: 'attempts',
      label: text.attempts,
      align: 'end',
      isDescendingFirst: true,
      sort: ({ attempts }) => attempts,
      cell: ({ attempts }) => <span class={attempts > 1 ? 'several' : 'quiet'}>{shownNumber(attempts)}</span>,
    },
  ];
}

/** The name that was asked for, and below it who answered. */
function ModelCell({ turn: { id, model, answeredBy } }: { readonly turn: ListedTurn }) {
  return (
    <div class="name-cell">
      <a class="cut" href={linkTo('turns', [id])}>
        {model}
      </a>
      {answeredBy && <small class="quiet cut">{answeredBy}</small>}
    </div>
  );
}

function Tokens({ usage }: Pick<ListedTurn, 'usage'>) {
  const text = turnsText();
  if (!usage) return <span class="quiet">–</span>;
  const exact = text.inOut(shownNumber(usage.input), shownNumber(usage.output));
  return (
    <span class="tokens" title={usage.isEstimated ? `${exact} (${text.estimated})` : exact}>
      {usage.isEstimated ? '≈ ' : ''}
      {shownCompact(usage.input)} → {shownCompact(usage.output)}
    </span>
  );
}
