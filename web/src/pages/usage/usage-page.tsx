import './usage.css';
import type { UsageFigures, UsageReport, UsageRow } from '../../../../src/core/shown-usage.ts';
import { api, queryText, useLoaded } from '../../api.ts';
import { Button } from '../../components/button.tsx';
import { CheckField, Choices } from '../../components/choice.tsx';
import { SelectField } from '../../components/field.tsx';
import { Icon } from '../../components/icon.tsx';
import { Card, Empty, Fault, PageHead, Shown, Stat, Stats } from '../../components/page.tsx';
import { toast, toastFault } from '../../components/toast.tsx';
import { shownCents, shownCompact, shownDuration, shownNumber, shownPercent } from '../../format.ts';
import { filter } from '../../navigation.ts';
import { plainName } from '../../plain-name.ts';
import { saveFile } from '../../save-file.ts';
import { frameText } from '../../texts/frame.ts';
import { usageText } from '../../texts/usage.ts';
import { useAccountNames } from '../accounts/account-names.ts';
import { keyName } from '../turns/shown-names.ts';
import { UsageChart } from './usage-chart.tsx';
import { choice, type Group, groups, metrics, periods, zoneOfViewer } from './usage-choice.ts';
import { Cost, type NameOf, UsageTable } from './usage-table.tsx';

const reloadMs = 30_000;

export function UsagePage() {
  const text = usageText();
  const { period, tz, by, split, metric, compare, only } = choice();
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

  const ofKey = useLoaded(
    (abort) => (only.key === undefined ? Promise.resolve(undefined) : load('key')(abort)),
    [only.key],
  );
  const reports = [table, parts, ofKey].map((loaded) => loaded.value.value);
  const nameOf = useNames(
    reports.flatMap((report) => report?.rows ?? []),
    only.account,
  );
  const charted = split === '' ? whole.value.value : parts.value.value;
  return (
    <div class="stack usage">
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
      <Filters nameOf={nameOf} />
      <Shown of={whole}>
        {({ total, before }) =>
          total.turns === 0 ? (
            <Empty title={text.empty}>{text.emptySays}</Empty>
          ) : (
            <>
              <Totals total={total} before={before?.total} />
              <Card
                title={text.overTime}
                actions={
                  <>
                    <Select label={text.show} name="metric" usual="turns" values={metrics} />
                    <Select label={text.split} name="split" usual="" values={['', ...groups]} />
                  </>
                }
              >
                {parts.error.value && <Fault error={parts.error.value} retry={parts.reload} />}
                {charted && <UsageChart report={charted} metric={metric} nameOf={nameOf} />}
              </Card>
              <Card
                title={text.byWhat(text[by])}
                actions={<Select label={text.by} name="by" usual="model" values={groups} />}
              >
                <Shown of={table}>{(report) => <UsageTable report={report} nameOf={nameOf} />}</Shown>
              </Card>
            </>
          )
        }
      </Shown>
    </div>
  );
}

/** Accounts and keys stand in the ledger under their ids. */
function useNames(rows: readonly UsageRow[], onlyAccount: string | undefined): NameOf {
  const accountName = useAccountNames([onlyAccount, ...rows.map(({ account }) => account)]);
  return (by, value) => {
    if (!value) return usageText().none;
    if (by === 'key') return keyName(rows.find(({ key }) => key === value)?.key_name, value);
    return by === 'account' ? accountName(value) : plainName(value);
  };
}

const compared = {
  get value() {
    return choice().compare !== undefined;
  },
  set value(isCompared: boolean) {
    filter('compare').value = isCompared ? '' : 'no';
  },
};

function Filters({ nameOf }: { readonly nameOf: NameOf }) {
  const text = usageText();
  const { tz, only } = choice();
  const zones = [...new Set([zoneOfViewer, 'UTC', tz, ...Intl.supportedValuesOf('timeZone')])];
  return (
    <div class="filters">
      <Choices
        label={text.period}
        look="bare"
        value={filter('period', '7d')}
        options={periods.map((value) => ({ value, label: text[value] }))}
      />
      <SelectField
        label={text.timeZone}
        look="inline"
        value={filter('tz', zoneOfViewer)}
        options={zones.map((zone) => ({ value: zone, label: zone }))}
      />
      <CheckField label={text.compare} value={compared} />
      {(Object.entries(only) as [Group, string][]).map(([name, value]) => (
        <button
          key={name}
          type="button"
          class="usage-only"
          aria-label={text.removeFilter(`${text[name]}: ${nameOf(name, value)}`)}
          onClick={() => {
            filter(name).value = '';
          }}
        >
          {text[name]}: <strong>{nameOf(name, value)}</strong>
          <Icon name="close" />
        </button>
      ))}
    </div>
  );
}

function Select(given: {
  readonly label: string;
  readonly name: string;
  readonly usual: string;
  readonly values: readonly ('' | Group | (typeof metrics)[number])[];
}) {
  const text = usageText();
  const options = given.values.map((value) => ({ value, label: value === '' ? text.all : text[value] }));
  return (
    <SelectField<string>
      label={given.label}
      look="inline"
      value={filter(given.name, given.usual)}
      options={options}
    />
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
    if (Math.abs(share) < 0.005) return text.unchanged;
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
