import './usage.css';
import type { UsageFigures, UsageReport } from '../../../../src/core/shown-usage.ts';
import { api, queryText, useLoaded } from '../../api.ts';
import { Button } from '../../components/button.tsx';
import { Icon } from '../../components/icon.tsx';
import { Card, Empty, Fault, Loading, PageHead, Stat, Stats } from '../../components/page.tsx';
import { toast, toastFault } from '../../components/toast.tsx';
import { shownCents, shownCompact, shownDuration, shownNumber, shownPercent } from '../../format.ts';
import { saveFile } from '../../save-file.ts';
import { frameText } from '../../texts/frame.ts';
import { usageText } from '../../texts/usage.ts';
import { UsageChart } from './usage-chart.tsx';
import { choice, choose, type Group, groups, metrics, periods, zoneOfViewer } from './usage-choice.ts';
import { Cost, UsageTable } from './usage-table.tsx';

const reloadMs = 30_000;

export function UsagePage() {
  const text = usageText();
  const chosen = choice();
  const { period, tz, by, split, compare, only } = chosen;
  const asked = { period, tz, ...only };
  const step = period === 'today' ? 'hour' : 'day';
  const load = (group: string) => (abort: AbortSignal) =>
    api.get<UsageReport>('/api/usage', { ...asked, group, compare }, abort);
  const on = [JSON.stringify(asked), compare];
  const whole = useLoaded(load(step), on, reloadMs);
  const parts = useLoaded(
    (abort) => (split === '' ? Promise.resolve(undefined) : load(`${step},${split}`)(abort)),
    [...on, split],
    reloadMs,
  );
  const table = useLoaded(load(by), [...on, by], reloadMs);

  async function save(path: string, query: Readonly<Record<string, string | undefined>>, name: string) {
    try {
      const answer = await api.raw('GET', path + queryText({ ...query, format: 'csv' }));
      saveFile(name, await answer.blob());
      toast(text.exported);
    } catch (error) {
      toastFault(error);
    }
  }

  const report = whole.value.value;
  const error = whole.error.value ?? table.error.value ?? parts.error.value;
  const charted = split === '' ? report : parts.value.value;
  return (
    <div class="usage">
      <PageHead title={frameText().usage} lead={text.lead}>
        <Button icon="download" onClick={() => save('/api/usage/turns', asked, 'turns.csv')}>
          {text.exportTurns}
        </Button>
        <Button
          icon="download"
          onClick={() => save('/api/usage', { ...asked, group: `${step},${by}` }, 'usage.csv')}
        >
          {text.exportSums}
        </Button>
      </PageHead>
      <Filters />
      {error && <Fault error={error} retry={() => void Promise.all([whole.reload(), table.reload()])} />}
      {!report && !error && <Loading />}
      {report && report.total.turns === 0 && <Empty title={text.empty}>{text.emptySays}</Empty>}
      {report && report.total.turns > 0 && (
        <>
          <Totals total={report.total} before={report.before?.total} />
          <Card
            title={text.overTime}
            actions={
              <>
                <Select label={text.show} name="metric" value={chosen.metric} values={metrics} />
                <Select label={text.split} name="split" value={split} values={['', ...groups]} />
              </>
            }
          >
            {charted && <UsageChart report={charted} chosen={chosen} />}
          </Card>
          <Card
            title={text.byWhat(text[by])}
            actions={<Select label={text.by} name="by" value={by} values={groups} />}
          >
            {table.value.value && <UsageTable report={table.value.value} by={by} />}
          </Card>
        </>
      )}
    </div>
  );
}

function Filters() {
  const text = usageText();
  const { period, tz, compare, only } = choice();
  const zones = [...new Set([zoneOfViewer, 'UTC', tz, ...Intl.supportedValuesOf('timeZone')])];
  return (
    <div class="usage-filters">
      <fieldset class="choices">
        <legend class="read-out">{text.period}</legend>
        <div>
          {periods.map((value) => (
            <label key={value}>
              <input
                type="radio"
                name="period"
                checked={period === value}
                onChange={() => choose({ period: value })}
              />
              <span>{text[value]}</span>
            </label>
          ))}
        </div>
      </fieldset>
      <label class="usage-select">
        <span>{text.timeZone}</span>
        <select
          aria-label={text.timeZone}
          value={tz}
          onChange={({ currentTarget }) => choose({ tz: currentTarget.value })}
        >
          {zones.map((zone) => (
            <option key={zone} value={zone}>
              {zone}
            </option>
          ))}
        </select>
      </label>
      <label class="usage-check">
        <input
          type="checkbox"
          checked={compare !== undefined}
          onChange={({ currentTarget }) => choose({ compare: currentTarget.checked ? undefined : 'no' })}
        />
        <span>{text.compare}</span>
      </label>
      {(Object.entries(only) as [Group, string][]).map(([name, value]) => (
        <button
          key={name}
          type="button"
          class="usage-only"
          aria-label={text.removeFilter(`${text[name]}: ${value}`)}
          onClick={() => choose({ [name]: undefined })}
        >
          {text[name]}: <strong>{value}</strong>
          <Icon name="close" />
        </button>
      ))}
    </div>
  );
}

function Select<Value extends '' | Group | (typeof metrics)[number]>(given: {
  readonly label: string;
  readonly name: string;
  readonly value: Value;
  readonly values: readonly Value[];
}) {
  const text = usageText();
  return (
    <label class="usage-select">
      <span>{given.label}</span>
      <select
        aria-label={given.label}
        value={given.value}
        onChange={({ currentTarget }) => choose({ [given.name]: currentTarget.value })}
      >
        {given.values.map((value) => (
          <option key={value} value={value}>
            {value === '' ? text.all : text[value]}
          </option>
        ))}
      </select>
    </label>
  );
}

function Totals({
  total,
  before,
}: {
  readonly total: UsageFigures;
  readonly before: UsageFigures | undefined;
}) {
  const text = usageText();
  const change = (of: (figures: UsageFigures) => number | null) => {
    const [now, then] = [of(total), before ? of(before) : null];
    if (now === null || !then) return undefined;
    const share = now / then - 1;
    return text.change(`${share < 0 ? '−' : '+'}${shownPercent(Math.abs(share))}`);
  };
  const tokens = total.input_tokens + total.output_tokens;
  const { first_content_p50_ms: half, first_content_p95_ms: most } = total;
  const notes = (...lines: (string | undefined)[]) =>
    lines.filter((line) => line !== undefined).map((line) => <div key={line}>{line}</div>);
  return (
    <Stats>
      <Stat name={text.turns} value={shownNumber(total.turns)} note={notes(change(({ turns }) => turns))} />
      <Stat
        name={text.cost}
        value={total.cost_cents === null ? <Cost figures={total} isShort /> : shownCents(total.cost_cents)}
        note={notes(
          total.cost_cents !== null && total.credits !== null
            ? text.andCredits(shownCompact(total.credits))
            : undefined,
          total.unpriced_turns > 0 ? text.unpriced(shownNumber(total.unpriced_turns)) : undefined,
          change(({ cost_cents: cents }) => cents),
        )}
      />
      <Stat
        name={text.tokens}
        value={shownCompact(tokens)}
        note={notes(
          text.inOut(shownCompact(total.input_tokens), shownCompact(total.output_tokens)),
          total.cached_input_tokens > 0
            ? text.cached(shownPercent(total.cached_input_tokens / total.input_tokens))
            : undefined,
          change((figures) => figures.input_tokens + figures.output_tokens),
        )}
      />
      <Stat
        name={text.errors}
        value={shownNumber(total.errors)}
        note={notes(
          shownPercent(total.errors / total.turns, 1),
          change(({ errors }) => errors),
        )}
        {...(total.errors > 0 ? { tone: 'bad' as const } : {})}
      />
      <Stat
        name={text.firstContent}
        value={half === null ? '–' : shownDuration(half)}
        note={notes(
          most === null ? undefined : text.p95(shownDuration(most)),
          change((figures) => figures.first_content_p50_ms),
        )}
      />
    </Stats>
  );
}
