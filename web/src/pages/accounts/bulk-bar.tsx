import { type Signal, useSignal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import type { Account } from '../../../../src/pool-api/account-schema.ts';
import type { BulkAnswer } from '../../../../src/pool-api/owner-schema.ts';
import { api } from '../../api.ts';
import { Button } from '../../components/button.tsx';
import { FormDialog } from '../../components/dialog.tsx';
import { TextField } from '../../components/field.tsx';
import { Menu } from '../../components/menu.tsx';
import { toast, toastFault } from '../../components/toast.tsx';
import { shownNumber } from '../../format.ts';
import { accountsText } from '../../texts/accounts.ts';
import { nameOf } from './account-list.ts';
import { BulkResults } from './bulk-results.tsx';
import { changeOf, type SettingFault, SettingsFields, useSettings } from './settings-fields.tsx';

export type BulkAction = 'enable' | 'disable' | 'remove' | 'check' | 'refresh' | 'set';

/** So many in a call: often enough to show how far it is. */
const chunk = 20;
/** From so many on the number has to be typed. */
const manyToRemove = 20;
const namesShown = 8;

interface Run {
  readonly action: BulkAction;
  readonly accounts: readonly Account[];
  readonly settings?: object;
}

/** Above the table while rows are chosen. */
export function BulkBar(given: {
  readonly accounts: readonly Account[];
  readonly chosen: Signal<ReadonlySet<string>>;
  readonly onDone: () => void;
}) {
  const text = accountsText();
  const asked = useSignal<Run | undefined>(undefined);
  const running = useSignal<Run | undefined>(undefined);
  const { accounts } = given;
  const begin = (action: BulkAction): void => {
    const run = { action, accounts };
    if (action === 'disable' || action === 'remove' || action === 'set') asked.value = run;
    else running.value = run;
  };
  return (
    <>
      {accounts.length > 0 && (
        <div class="bulk-bar" role="toolbar" aria-label={text.selected(shownNumber(accounts.length))}>
          <strong aria-live="polite">{text.selected(shownNumber(accounts.length))}</strong>
          <Button onClick={() => begin('enable')}>{text.enable}</Button>
          <Button onClick={() => begin('disable')}>{text.disable}</Button>
          <Button onClick={() => begin('check')}>{text.check}</Button>
          <Menu
            label={text.actions}
            items={[
              { label: text.refresh, onSelect: () => begin('refresh') },
              { label: text.set, onSelect: () => begin('set') },
              { label: text.remove, isDanger: true, onSelect: () => begin('remove') },
            ]}
          />
          <Button
            kind="quiet"
            icon="close"
            label={text.clearSelection}
            onClick={() => {
              given.chosen.value = new Set();
            }}
          />
        </div>
      )}
      {asked.value && (
        <BulkQuestion
          run={asked.value}
          onClose={() => {
            asked.value = undefined;
          }}
          onConfirm={(settings) => {
            if (asked.value) running.value = { ...asked.value, ...(settings && { settings }) };
            asked.value = undefined;
          }}
        />
      )}
      {running.value && (
        <BulkRun
          run={running.value}
          onClose={() => {
            running.value = undefined;
            given.chosen.value = new Set();
            given.onDone();
          }}
        />
      )}
    </>
  );
}

/** Names what will be done, and to which accounts. */
function BulkQuestion(given: {
  readonly run: Run;
  readonly onConfirm: (settings?: object) => void;
  readonly onClose: () => void;
}) {
  const text = accountsText();
  const { action, accounts } = given.run;
  const typed = useSignal('');
  const settings = useSettings();
  const fault = useSignal<SettingFault | undefined>(undefined);
  const isBig = action === 'remove' && accounts.length >= manyToRemove;
  const titles = { remove: text.bulkRemoveTitle, disable: text.bulkDisableTitle, set: text.bulkSetTitle };
  function confirm(): void {
    if (action !== 'set') {
      given.onConfirm();
      return;
    }
    const result = changeOf(settings);
    fault.value = 'fault' in result ? result.fault : undefined;
    if ('change' in result && Object.keys(result.change).length > 0) given.onConfirm(result.change);
  }
  return (
    <FormDialog
      title={titles[action as keyof typeof titles](shownNumber(accounts.length))}
      action={text[action]}
      kind={action === 'set' ? 'primary' : 'danger'}
      isDisabled={isBig && typed.value.trim() !== String(accounts.length)}
      onSubmit={confirm}
      onClose={given.onClose}
    >
      {action === 'set' ? (
        <>
          <p>{text.bulkSetHint}</p>
          <SettingsFields settings={settings} isForMany fault={fault.value} />
        </>
      ) : (
        <>
          <p>{action === 'remove' ? text.bulkRemoveText : text.bulkDisableText}</p>
          <ul class="names">
            {accounts.slice(0, namesShown).map((account) => (
              <li key={account.id}>
                <bdi>{nameOf(account)}</bdi> <span class="note">{account.provider}</span>
              </li>
            ))}
            {accounts.length > namesShown && (
              <li class="note">{text.andMore(shownNumber(accounts.length - namesShown))}</li>
            )}
          </ul>
          {isBig && (
            <TextField
              label={text.typeToConfirm(String(accounts.length))}
              value={typed}
              inputMode="numeric"
            />
          )}
        </>
      )}
    </FormDialog>
  );
}

/** Does it, a few accounts at a time, and says what became of each. It stops when the page is left. */
function BulkRun({ run, onClose }: { readonly run: Run; readonly onClose: () => void }) {
  const text = accountsText();
  const results = useSignal<BulkAnswer['results']>([]);
  const isRunning = useSignal(false);
  const isStopped = useSignal(false);
  const isLeft = useRef(false);
  async function work(): Promise<void> {
    isRunning.value = true;
    const ids = run.accounts.map(({ id }) => id);
    try {
      while (results.value.length < ids.length && !isStopped.value) {
        const next = ids.slice(results.value.length, results.value.length + chunk);
        const settings = run.settings && { settings: run.settings };
        const answer = await api.post<BulkAnswer>('/api/accounts/bulk', {
          action: run.action,
          ids: next,
          ...settings,
        });
        results.value = [...results.value, ...answer.results];
      }
    } catch (error) {
      isStopped.value = true;
      toastFault(error);
    }
    isRunning.value = false;
  }
  useEffect(() => {
    void work().then(() => {
      const left = run.accounts.length - results.peek().length;
      if (isLeft.current && left > 0) toast(text.stopped(shownNumber(left)), 'rest');
    });
    return () => {
      isLeft.current = true;
      isStopped.value = true;
    };
  }, []);
  return (
    <BulkResults
      title={text[run.action]}
      accounts={run.accounts}
      results={results.value}
      isRunning={isRunning.value}
      onStop={() => {
        isStopped.value = true;
      }}
      onClose={onClose}
    />
  );
}
