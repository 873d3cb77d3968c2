import type { UsageReport, UsageRow } from '../../../../src/core/shown-usage.ts';
import { Chart, type Line } from '../../components/chart.tsx';
import { usageText } from '../../texts/usage.ts';
import { figureOf, type Group, groupOf, type Metric, shownValue } from './usage-choice.ts';
import type { NameOf } from './usage-table.tsx';

const tones = ['accent', 'series-2', 'series-3', 'series-4'] as const;

/** One figure over the days or hours of the period, whole or split. */
export function UsageChart(given: {
  readonly report: UsageReport;
  readonly metric: Metric;
  readonly nameOf: NameOf;
}) {
  const text = usageText();
  const { report, metric, nameOf } = given;
  const split = groupOf(report);
  const times = timesOf(report);
  const lines: Line[] =
    split === undefined
      ? [
          { label: text[metric], values: valuesOf(report.rows, times, metric), tone: 'accent' },
          ...(report.before ? [beforeLine(report, times, metric)] : []),
        ]
      : splitLines(report.rows, times, metric, split, nameOf);
  const total = shownValue(metric, figureOf(metric, report.total));
  return (
    <Chart
      label={text.chartSays(text[metric], total)}
      times={times.map(({ seconds }) => seconds)}
      lines={lines}
      shown={(value) => shownValue(metric, value)}
      height={240}
      kind={split === undefined && metric !== 'firstContent' ? 'bars' : 'lines'}
    />
  );
}

interface Moment {
  readonly start: string;
  readonly seconds: number;
}

/** Every hour or day of the period, also those without turns. A day stands where the viewer's own day of that date begins. */
function timesOf({ from, to, group, time_zone: timeZone }: UsageReport): Moment[] {
  const times: Moment[] = [];
  if (group.includes('hour')) {
    const hourMs = 3_600_000;
    for (let at = Math.floor(Date.parse(from) / hourMs) * hourMs; at < Date.parse(to); at += hourMs)
      times.push({ start: new Date(at).toISOString(), seconds: at / 1_000 });
    return times;
  }
  const day = (at: number) => new Intl.DateTimeFormat('sv', { timeZone }).format(at);
  const last = day(Date.parse(to) - 1);
  let noon = Date.parse(`${day(Date.parse(from))}T12:00:00Z`);
  for (let start = ''; start < last; noon += 86_400_000) {
    start = new Date(noon).toISOString().slice(0, 10);
    times.push({ start, seconds: Date.parse(`${start}T00:00:00`) / 1_000 });
  }
  return times;
}

function valuesOf(rows: readonly UsageRow[], times: readonly Moment[], metric: Metric): (number | null)[] {
  const byStart = new Map(rows.map((row) => [row.start, row]));
  return times.map(({ start }) => {
    const row = byStart.get(start);
    return row ? figureOf(metric, row) : metric === 'firstContent' ? null : 0;
  });
}

/** The period before, moved to this one's times. */
function beforeLine(report: UsageReport, times: readonly Moment[], metric: Metric): Line {
  const { before } = report;
  const own = before ? timesOf({ ...report, from: before.from, to: before.to }) : [];
  const values = valuesOf(before?.rows ?? [], own, metric);
  return {
    label: usageText().before,
    values: times.map((_time, at) => values[at] ?? null),
    tone: 'ink-soft',
    isFaint: true,
  };
}

/** The four largest, and the others as one. */
function splitLines(
  rows: readonly UsageRow[],
  times: readonly Moment[],
  metric: Metric,
  split: Group,
  nameOf: NameOf,
): Line[] {
  const sums = new Map<string, number>();
  for (const row of rows) {
    const name = row[split] ?? '';
    sums.set(name, (sums.get(name) ?? 0) + (figureOf(metric, row) ?? 0));
  }
  const largest = [...sums].toSorted(([, one], [, other]) => other - one).map(([name]) => name);
  const shown = largest.slice(0, tones.length);
  const lines = shown.map((name, at): Line => {
    const own = rows.filter((row) => row[split] === name);
    return {
      label: nameOf(split, name),
      values: valuesOf(own, times, metric),
      tone: tones[at] ?? 'ink-soft',
    };
  });
  if (largest.length <= shown.length || metric === 'firstContent') return lines;
  const others = times.map(({ start }) =>
    rows
      .filter((row) => row.start === start && !shown.includes(row[split] ?? ''))
      .reduce((sum, row) => sum + (figureOf(metric, row) ?? 0), 0),
  );
  return [...lines, { label: usageText().other, values: others, tone: 'ink-soft' }];
}
