import type { Account } from '../../../../src/pool-api/account-schema.ts';
import type { BulkAnswer } from '../../../../src/pool-api/owner-schema.ts';
import { Bar } from '../../components/bar.tsx';
import { Button } from '../../components/button.tsx';
import { Dialog } from '../../components/dialog.tsx';
import { Badge, Notice } from '../../components/page.tsx';
import { Table } from '../../components/table.tsx';
import { shownNumber } from '../../format.ts';
import { accountsText } from '../../texts/accounts.ts';
import { nameOf } from './account-list.ts';

type Result = BulkAnswer['results'][number];

/** How far it is, and then each account that was not simply done. */
export function BulkResults(given: {
  readonly title: string;
  readonly accounts: readonly Account[];
  readonly results: readonly Result[];
  readonly isRunning: boolean;
  readonly onStop: () => void;
  readonly onClose: () => void;
}) {
  const text = accountsText();
  const { accounts, results, isRunning } = given;
  const names = new Map(accounts.map((account) => [account.id, nameOf(account)]));
  const others = results.filter(({ result }) => result !== 'done');
  const left = accounts.length - results.length;
  const count = (kind: Result['result']) =>
    shownNumber(results.filter(({ result }) => result === kind).length);
  return (
    <Dialog
      title={given.title}
      isWide={others.length > 0}
      onClose={isRunning ? given.onStop : given.onClose}
      actions={
        isRunning ? (
          <Button onClick={given.onStop}>{text.stop}</Button>
        ) : (
          <Button kind="primary" onClick={given.onClose}>
            {text.close}
          </Button>
        )
      }
    >
      <Bar
        label={text.working(shownNumber(results.length), shownNumber(accounts.length))}
        share={results.length / Math.max(1, accounts.length)}
        tone={isRunning ? 'accent' : 'ok'}
      />
      {!isRunning && left > 0 && <Notice tone="rest">{text.stopped(shownNumber(left))}</Notice>}
      {!isRunning && left === 0 && others.length === 0 && (
        <Notice tone="ok">{text.allDone(shownNumber(results.length))}</Notice>
      )}
      {others.length > 0 && (
        <>
          <p class="counts" aria-live="polite">
            <Badge tone="ok">{`${text.done} ${count('done')}`}</Badge>
            <Badge tone="quiet">{`${text.skipped} ${count('skipped')}`}</Badge>
            <Badge tone="bad">{`${text.failed} ${count('failed')}`}</Badge>
          </p>
          <Table
            label={text.result}
            rows={others}
            keyOf={({ id }) => id}
            empty={null}
            columns={[
              { id: 'account', label: text.account, cell: ({ id }) => <bdi>{names.get(id) ?? id}</bdi> },
              {
                id: 'result',
                label: text.result,
                cell: ({ result }) => (
                  <Badge tone={result === 'failed' ? 'bad' : 'quiet'}>{text[result]}</Badge>
                ),
              },
              { id: 'reason', label: text.reason, cell: ({ reason }) => <bdi>{reason}</bdi> },
            ]}
          />
        </>
      )}
    </Dialog>
  );
}
