import type { UsageFigures, UsageReport, UsageRow } from '../../../../src/core/shown-usage.ts';
import { Bar } from '../../components/bar.tsx';
import { type Column, Table } from '../../components/table.tsx';
import { shownCents, shownCompact, shownDuration, shownNumber, shownPercent } from '../../format.ts';
import { filter } from '../../navigation.ts';
import { usageText } from '../../texts/usage.ts';
import { type Group, groupOf } from './usage-choice.ts';

/** The name of what rows are grouped by. */
export type NameOf = (by: Group, value: string | null | undefined) => string;

/** What was used by each model, key, provider or account. A press on one shows it alone. */
export function UsageTable({ report, nameOf }: { readonly report: UsageReport; readonly nameOf: NameOf }) {
  const text = usageText();
  const by = groupOf(report) ?? 'model';
  const { total } = report;
  const columns: Column<UsageRow>[] = [
    {
      id: 'name',
      label: text[by],
      sort: (row) => nameOf(by, row[by]),
      cell: (row) => {
        const name = nameOf(by, row[by]);
        if (!row[by]) return <span class="quiet">{name}</span>;
        return (
          <button
            type="button"
            class="link usage-name"
            title={text.onlyThis(name)}
            onClick={() => {
              filter(by).value = row[by] ?? '';
            }}
          >
            <bdi>{name}</bdi>
          </button>
        );
      },
    },
    number(
      'turns',
      text.turns,
      ({ turns }) => turns,
      ({ turns }) => shownNumber(turns),
    ),
    {
      id: 'share',
      label: text.share,
      cell: (row) => (
        <Bar
          label={text.share}
          share={total.turns === 0 ? 0 : row.turns / total.turns}
          tone="accent"
          isBare
        />
      ),
    },
    number(
      'errors',
      text.errors,
      ({ errors }) => errors,
      (row) =>
        row.errors === 0 ? '–' : `${shownNumber(row.errors)} (${shownPercent(row.errors / row.turns, 1)})`,
    ),
    number(
      'input',
      text.input,
      (row) => row.input_tokens,
      (row) => shownCompact(row.input_tokens),
    ),
    number(
      'output',
      text.output,
      (row) => row.output_tokens,
      (row) => shownCompact(row.output_tokens),
    ),
    number(
      'cost',
      text.cost,
      (row) => row.cost_cents,
      (row) => <Cost figures={row} />,
    ),
    number(
      'first',
      text.firstContent,
      (row) => row.first_content_p50_ms,
      (row) => (row.first_content_p50_ms === null ? '–' : shownDuration(row.first_content_p50_ms)),
    ),
  ];
  return (
    <Table
      label={text.byWhat(text[by])}
      columns={columns}
      rows={report.rows}
      keyOf={(row) => row[by] ?? ''}
      empty={null}
    />
  );
}

function number(
  id: string,
  label: string,
  sort: (row: UsageRow) => number | null,
  cell: Column<UsageRow>['cell'],
): Column<UsageRow> {
  return { id, label, sort, cell, align: 'end', isDescendingFirst: true };
}

/** What is not known of a cost is said. */
export function Cost({
  figures,
  isShort,
}: {
  readonly figures: UsageFigures;
  /** What is missing is said beside it. */
  readonly isShort?: boolean;
}) {
  const text = usageText();
  const { cost_cents: cents, credits, unpriced_turns: unpriced } = figures;
  const note = unpriced > 0 ? text.unpriced(shownNumber(unpriced)) : undefined;
  const sum =
    cents === null
      ? credits === null
        ? text.unknown
        : text.credits(shownCompact(credits))
      : `${shownCents(cents)}${credits === null ? '' : ` + ${text.credits(shownCompact(credits))}`}`;
  return (
    <span class={cents === null && credits === null ? 'quiet' : ''} title={note}>
      {sum}
      {!isShort && note && cents !== null && <span class="read-out">{note}</span>}
      {!isShort && note && cents !== null && ' + ?'}
    </span>
  );
}
