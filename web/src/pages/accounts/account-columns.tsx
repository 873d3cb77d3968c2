import type { Account } from '../../../../src/pool-api/account-schema.ts';
import { Button } from '../../components/button.tsx';
import { Menu } from '../../components/menu.tsx';
import type { Column } from '../../components/table.tsx';
import { Time } from '../../components/time.tsx';
import { shownNumber } from '../../format.ts';
import { filtersNow, linkTo } from '../../navigation.ts';
import { accountsText } from '../../texts/accounts.ts';
import { type AccountActions, actionLabel, mainAction, menuActions } from './account-actions.tsx';
import { nameOf, shortId } from './account-list.ts';
import { QuotaCell, StateCell, shownSource, usedShare } from './account-state.tsx';

/** What needs a person first. */
const stateOrder: readonly Account['status'][] = [
  'reauth_required',
  'exhausted',
  'cooldown',
  'active',
  'standby',
  'disabled',
];

export function accountColumns(
  actions: AccountActions,
  running: ReadonlyMap<string, number>,
): readonly Column<Account>[] {
  const text = accountsText();
  return [
    {
      id: 'account',
      label: text.account,
      cell: (account) => <NameCell account={account} />,
      sort: nameOf,
    },
    {
      id: 'state',
      label: text.state,
      cell: (account) => <StateCell account={account} />,
      sort: ({ status }) => stateOrder.indexOf(status),
    },
    {
      id: 'quota',
      label: text.quota,
      cell: (account) => <QuotaCell account={account} />,
      sort: usedShare,
      isDescendingFirst: true,
    },
    {
      id: 'in-use',
      label: text.inUse,
      cell: (account) => <UseCell account={account} running={running.get(account.id) ?? 0} />,
      sort: ({ slots_in_use }) => slots_in_use,
      isDescendingFirst: true,
      align: 'end',
    },
    {
      id: 'last-used',
      label: text.lastUsed,
      cell: ({ last_used }) =>
        last_used === null ? <span class="quiet">{text.never}</span> : <Time at={last_used} relative />,
      sort: ({ last_used }) => (last_used === null ? undefined : Date.parse(last_used)),
      isDescendingFirst: true,
    },
    {
      id: 'source',
      label: text.source,
      cell: ({ source, tier, free }) => (
        <>
          <div class="source-note">{shownSource(source)}</div>
          {(tier > 0 || free) && (
            <div class="note source-note">
              {[tier > 0 && text.tier(String(tier)), free && text.free].filter(Boolean).join(', ')}
            </div>
          )}
        </>
      ),
      sort: ({ source }) => shownSource(source),
    },
    {
      id: 'actions',
      label: text.actions,
      cell: (account) => <ActionsCell account={account} actions={actions} />,
      isHeadHidden: true,
      align: 'end',
    },
  ];
}

/** Names come from outside: `bdi` keeps one that is written from right to left from turning what stands beside it. */
function NameCell({ account }: { readonly account: Account }) {
  const { id, email, label, provider } = account;
  return (
    <div class="name-cell">
      <a href={linkTo('accounts', [id], filtersNow())} class={email === null ? '' : 'blurs'}>
        {email === null ? <bdi>{label ?? shortId(id)}</bdi> : <bdi dir="ltr">{email}</bdi>}
      </a>
      <div class="note">
        {provider}
        {email !== null && label !== null && (
          <span class="tag">
            <bdi>{label}</bdi>
          </span>
        )}
      </div>
    </div>
  );
}

function UseCell({ account, running }: { readonly account: Account; readonly running: number }) {
  const { slots_in_use: used, capacity } = account;
  return (
    <>
      <span class={used === 0 ? 'quiet' : ''}>
        {used}/{capacity}
      </span>
      {running > 0 && <div class="note">{accountsText().running(shownNumber(running))}</div>}
    </>
  );
}

function ActionsCell({ account, actions }: { readonly account: Account; readonly actions: AccountActions }) {
  const main = mainAction(account, actions.canLogIn(account.provider));
  return (
    <div class="row-actions">
      <Button
        {...(account.status === 'reauth_required' ? { kind: 'primary' } : {})}
        onClick={() => actions.run(main, account)}
      >
        {actionLabel(main, account, true)}
      </Button>
      <Menu
        label={`${accountsText().more}: ${nameOf(account)}`}
        items={menuActions(account, actions.canLogIn(account.provider)).map((action) => ({
          label: actionLabel(action, account),
          isDanger: action === 'remove',
          onSelect: () => actions.run(action, account),
        }))}
      />
    </div>
  );
}
