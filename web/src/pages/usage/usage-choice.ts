import type { UsageFigures, UsageReport } from '../../../../src/core/shown-usage.ts';
import { shownCents, shownCompact, shownDuration } from '../../format.ts';
import { place } from '../../navigation.ts';
import { usageText } from '../../texts/usage.ts';

/** What the page is asked to show: it stands in the address, so that it can be passed on. */

export const periods = ['today', '7d', '30d', '90d', 'month'] as const;
export const groups = ['model', 'key', 'owner', 'provider', 'account'] as const;
export type Group = (typeof groups)[number];
export const metrics = ['cost', 'tokens', 'turns', 'errors', 'firstContent'] as const;
export type Metric = (typeof metrics)[number];

export const zoneOfViewer = Intl.DateTimeFormat().resolvedOptions().timeZone;

export function choice() {
  const { filters } = place.value;
  const one = <Value extends string>(name: string, values: readonly Value[], usual: Value): Value =>
    values.find((value) => value === filters.get(name)) ?? usual;
  return {
    period: one('period', periods, '7d'),
    tz: filters.get('tz') ?? zoneOfViewer,
    by: one('by', groups, 'model'),
    split: one('split', ['', ...groups] as const, ''),
    metric: one('metric', metrics, 'turns'),
    compare: filters.get('compare') === 'no' ? undefined : ('before' as const),
    only: Object.fromEntries(
      groups.flatMap((name) => (filters.has(name) ? [[name, filters.get(name) ?? '']] : [])),
    ) as Partial<Record<Group, string>>,
  };
}

/** What the rows of a report are grouped by, beside their time: the answer to an earlier question may be shown still. */
export function groupOf({ group }: Pick<UsageReport, 'group'>): Group | undefined {
  return groups.find((name) => group.includes(name));
}

export function figureOf(metric: Metric, figures: UsageFigures): number | null {
  switch (metric) {
    case 'cost':
      return figures.cost_cents;
    case 'tokens':
      return figures.input_tokens + figures.output_tokens;
    case 'turns':
      return figures.turns;
    case 'errors':
      return figures.errors;
    case 'firstContent':
      return figures.first_content_p50_ms;
  }
}

export function shownValue(metric: Metric, value: number | null): string {
  if (value === null) return metric === 'cost' ? usageText().unknown : '–';
  if (metric === 'cost') return shownCents(value);
  return metric === 'firstContent' ? shownDuration(value) : shownCompact(value);
}
