import './accounts.css';
import { useSignal } from '@preact/signals';
import { useEffect, useState } from 'preact/hooks';
import type { Account, LoginsAnswer } from '../../../../src/pool-api/account-schema.ts';
import type { StatusAnswer } from '../../../../src/pool-api/owner-schema.ts';
import { api, useLoaded } from '../../api.ts';
import { Button } from '../../components/button.tsx';
import { Empty, Fault, Loading, Notice, PageHead } from '../../components/page.tsx';
import { Table } from '../../components/table.tsx';
import { shownNumber } from '../../format.ts';
import { onLive } from '../../live.ts';
import { filtersNow, goTo, place } from '../../navigation.ts';
import { addingText } from '../../texts/account-adding.ts';
import { accountsText } from '../../texts/accounts.ts';
import { AccountActions } from './account-actions.tsx';
import { accountColumns } from './account-columns.tsx';
import { AccountDialogs } from './account-dialogs.tsx';
import { type AccountList, nameOf, useAccountList } from './account-list.ts';
import { AccountPanel } from './account-panel.tsx';
import { useRunningTurns } from './account-turns.tsx';
import { BulkBar } from './bulk-bar.tsx';
import { Filters, matches } from './filters.tsx';
import { ImportProgress } from './import-form.tsx';
import { importJob } from './import-job.ts';

export function AccountsPage() {
  const text = accountsText();
  const list = useAccountList();
  const [actions] = useState(() => new AccountActions(list));
  const running = useRunningTurns();
  const chosen = useSignal<ReadonlySet<string>>(new Set());
  useEffect(() => void actions.loadProviders(), [actions]);

  const accounts = [...list.accounts.value.values()];
  const rows = accounts.filter((account) => matches(account));
  const openId = place.value.rest[0];
  const usable = accounts.filter(({ status }) => status === 'active').length;
  const { value: total } = list.total;
  const lead =
    list.isLoading.value && accounts.length < total
      ? text.loading(shownNumber(accounts.length), shownNumber(total))
      : text.lead(shownNumber(usable), shownNumber(total));

  return (
    <div class="accounts stack">
      <PageHead title={text.accounts} lead={total > 0 && lead}>
        <Button onClick={() => actions.ask({ kind: 'sources' })}>{text.refill}</Button>
        <Button kind="primary" icon="add" onClick={() => actions.ask({ kind: 'add' })}>
          {text.addAccount}
        </Button>
      </PageHead>
      <Waiting actions={actions} list={list} />
      {list.error.value && <Fault error={list.error.value} retry={() => void list.load()} />}
      {list.isLoading.value && accounts.length === 0 && <Loading />}
      {!list.isLoading.value && !list.error.value && accounts.length === 0 && (
        <NoAccounts actions={actions} />
      )}
      {accounts.length > 0 && (
        <>
          <Filters accounts={accounts} />
          {!list.isLoading.value && total > accounts.length && (
            <Notice tone="rest">{text.tooMany(shownNumber(accounts.length), shownNumber(total))}</Notice>
          )}
          <BulkBar
            accounts={rows.filter(({ id }) => chosen.value.has(id))}
            chosen={chosen}
            onDone={() => void list.load()}
          />
          <div class="accounts-table">
            <Table<Account>
              label={text.accounts}
              columns={accountColumns(actions, running)}
              rows={rows}
              keyOf={({ id }) => id}
              nameOf={nameOf}
              chosen={chosen}
              onOpen={({ id }) => goTo('accounts', [id], filtersNow())}
              isOpen={({ id }) => id === openId}
              empty={
                <Empty
                  title={text.noneMatch}
                  action={<Button onClick={() => goTo('accounts')}>{text.clearFilters}</Button>}
                />
              }
            />
          </div>
        </>
      )}
      {openId !== undefined && (
        <AccountPanel
          id={openId}
          changedAt={list.accounts.value.get(openId)?.updated_at}
          actions={actions}
          onClose={() => goTo('accounts', [], filtersNow())}
        />
      )}
      <AccountDialogs actions={actions} list={list} />
    </div>
  );
}

/** Logins and imports that are not done: their dialogs may have been closed, or their page left. */
function Waiting({ actions, list }: { readonly actions: AccountActions; readonly list: AccountList }) {
  const text = addingText();
  const logins = useLoaded(
    async (abort) => (await api.get<LoginsAnswer>('/api/logins', {}, abort)).logins,
    [],
  );
  useEffect(
    () =>
      onLive((event) => {
        if (event.type === 'login-changed') void logins.reload();
      }),
    [],
  );
  const pending = (logins.value.value ?? []).filter(({ status }) => status === 'pending');
  const [first] = pending;
  const job = importJob.value;
  const isAsked = actions.asked.value !== undefined;
  return (
    <>
      {first && !isAsked && (
        <Notice
          tone="accent"
          action={
            <Button onClick={() => actions.ask({ kind: 'login', wish: { loginId: first.id } })}>
              {text.show}
            </Button>
          }
        >
          {text.pendingLogins(shownNumber(pending.length))}
        </Notice>
      )}
      {job && !isAsked && (
        <section class="card">
          <ImportProgress
            job={job}
            endLabel={accountsText().close}
            onEnd={() => {
              importJob.value = undefined;
              void list.load();
            }}
          />
        </section>
      )}
    </>
  );
}

function NoAccounts({ actions }: { readonly actions: AccountActions }) {
  const text = accountsText();
  const status = useLoaded((abort) => api.get<StatusAnswer>('/api/accounts/status', {}, abort));
  return (
    <Empty
      title={text.emptyTitle}
      action={
        <Button kind="primary" icon="add" onClick={() => actions.ask({ kind: 'add' })}>
          {text.addAccount}
        </Button>
      }
    >
      {text.empty} {status.value.value?.sandbox && text.emptySandbox}
    </Empty>
  );
}
