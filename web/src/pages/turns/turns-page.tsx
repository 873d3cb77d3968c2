import './turns.css';
import { useSignal } from '@preact/signals';
import type { ShownTurn } from '../../../../src/core/shown-turn.ts';
import { api, useLoaded } from '../../api.ts';
import { Button } from '../../components/button.tsx';
import { Badge, Empty, Fault, Loading, outcomeTone, PageHead } from '../../components/page.tsx';
import { type Column, Table } from '../../components/table.tsx';
import { Time } from '../../components/time.tsx';
import { now, shownCompact, shownDuration, shownNumber } from '../../format.ts';
import { turnChanges } from '../../live.ts';
import { goTo, linkTo, place } from '../../navigation.ts';
import { frameText } from '../../texts/frame.ts';
import { turnsText } from '../../texts/turns.ts';
import { hasFilters, TurnFilters, turnQuery } from './filters.tsx';
import { keyName, shownOutcome } from './shown-names.ts';
import { TurnView } from './turn-view.tsx';

interface TurnList {
  readonly turns: readonly ShownTurn[];
  readonly next_before: number | null;
}

const perPage = 100;
/** Turns that run change without an event. */
const everyMs = 3_000;

export function TurnsPage() {
  const [id] = place.value.rest;
  return id === undefined ? <AllTurns /> : <TurnView key={id} id={id} />;
}

function AllTurns() {
  const text = turnsText();
  const limit = useSignal(perPage);
  const query = turnQuery(place.value.filters);
  const { value, error, reload } = useLoaded(
    (abort) => api.get<TurnList>('/api/turns', { ...query, limit: limit.value }, abort),
    [JSON.stringify(query), limit.value],
    everyMs,
    () => turnChanges.value,
  );
  const turns = value.value?.turns;
  const isFiltered = hasFilters(place.value.filters);
  return (
    <>
      <PageHead title={frameText().turns} lead={text.lead} />
      <div class="stack">
        <TurnFilters turns={turns ?? []} />
        {error.value && <Fault error={error.value} retry={() => void reload()} />}
        {!turns && !error.value && <Loading />}
        {turns && (
          <Table
            label={frameText().turns}
            columns={columns()}
            rows={turns}
            keyOf={({ request_id, at }) => request_id + at}
            onOpen={({ request_id }) => goTo('turns', [request_id])}
            empty={
              isFiltered ? (
                <Empty
                  title={text.noneMatch}
                  action={<Button onClick={() => goTo('turns')}>{text.clear}</Button>}
                />
              ) : (
                <Empty title={text.none}>{text.noneHint}</Empty>
              )
            }
          />
        )}
        {value.value?.next_before != null && limit.value < 500 && (
          <div class="row">
            <Button
              onClick={() => {
                limit.value = 500;
              }}
            >
              {text.older}
            </Button>
          </div>
        )}
      </div>
    </>
  );
}

function columns(): readonly Column<ShownTurn>[] {
  const text = turnsText();
  return [
    {
      id: 'time',
      label: text.time,
      sort: ({ at }) => Date.parse(at),
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
      sort: keyName,
      cell: (turn) => <span class="cut key-name">{keyName(turn)}</span>,
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
      sort: ({ first_content_ms }) => first_content_ms,
      cell: ({ first_content_ms }) => <Duration ms={first_content_ms} />,
    },
    {
      id: 'duration',
      label: text.duration,
      align: 'end',
      isDescendingFirst: true,
      sort: (turn) => turn.duration_ms ?? now.value - Date.parse(turn.at),
      cell: (turn) => <Duration ms={turn.duration_ms ?? Math.max(0, now.value - Date.parse(turn.at))} />,
    },
    {
      id: 'tokens',
      label: text.tokens,
      align: 'end',
      isDescendingFirst: true,
      sort: ({ usage }) => usage && usage.input_tokens + usage.output_tokens,
      cell: ({ usage }) => <Tokens usage={usage} />,
    },
    {
      id: 'attempts',
      label: text.attempts,
      align: 'end',
      isDescendingFirst: true,
      sort: ({ attempts }) => attempts.length,
      cell: ({ attempts }) => (
        <span class={attempts.length > 1 ? 'several' : 'quiet'}>{shownNumber(attempts.length)}</span>
      ),
    },
  ];
}

/** The name that was asked for, and below it who answered. */
function ModelCell({ turn }: { readonly turn: ShownTurn }) {
  const last = turn.attempts.at(-1) ?? turn.candidates.at(-1);
  return (
    <div class="model-cell">
      <a class="cut" href={linkTo('turns', [turn.request_id])}>
        {turn.model}
      </a>
      {last && <small class="quiet cut">{`${last.provider}/${last.model}`}</small>}
    </div>
  );
}

function Duration({ ms }: { readonly ms: number | null }) {
  return ms === null ? <span class="quiet">–</span> : <span>{shownDuration(ms)}</span>;
}

function Tokens({ usage }: { readonly usage: ShownTurn['usage'] }) {
  const text = turnsText();
  if (!usage) return <span class="quiet">–</span>;
  const exact = text.inOut(shownNumber(usage.input_tokens), shownNumber(usage.output_tokens));
  return (
    <span title={usage.is_estimated ? `${exact} (${text.estimated})` : exact}>
      {usage.is_estimated ? '≈ ' : ''}
      {shownCompact(usage.input_tokens)} → {shownCompact(usage.output_tokens)}
    </span>
  );
}
