import type { ComponentChildren } from 'preact';
import type { AccountDetails, AccountDetailsAnswer } from '../../../../src/pool-api/account-schema.ts';
import type { Session, SessionsAnswer } from '../../../../src/pool-api/owner-schema.ts';
import { api, useLoaded } from '../../api.ts';
import { Button } from '../../components/button.tsx';
import { Copied } from '../../components/copy.tsx';
import { useModal } from '../../components/dialog.tsx';
import { Menu } from '../../components/menu.tsx';
import { Facts, Fault, Loading, Notice, Shown } from '../../components/page.tsx';
import { Email, Time } from '../../components/time.tsx';
import { Toasts } from '../../components/toast.tsx';
import { shownCents, shownCompact, shownNumber } from '../../format.ts';
import { session } from '../../session.ts';
import { accountDetailsText } from '../../texts/account-details.ts';
import { reasonText } from '../../texts/account-reasons.ts';
import { accountsText } from '../../texts/accounts.ts';
import { frameText } from '../../texts/frame.ts';
import { standingWord } from '../../texts/standing-words.ts';
import { type AccountActions, actionLabel, mainAction, menuActions } from './account-actions.tsx';
import { AccountAudit } from './account-audit.tsx';
import { Evidence } from './account-evidence.tsx';
import { nameOf } from './account-list.ts';
import { QuotaCell, StateBadge, StateEnd, shownSource } from './account-state.tsx';
import { AccountTurns } from './account-turns.tsx';

const reloadMs = 5_000;

/** Everything about one account, beside the table. `changedAt` is that of the table's row: a change there is loaded here. */
export function AccountPanel(given: {
  readonly id: string;
  readonly changedAt: string | undefined;
  readonly actions: AccountActions;
  readonly onClose: () => void;
}) {
  const { id, actions } = given;
  const path = `/api/accounts/${encodeURIComponent(id)}`;
  const loaded = useLoaded(
    async (abort) => (await api.get<AccountDetailsAnswer>(path, {}, abort)).account,
    [id, given.changedAt],
    reloadMs,
  );
  const text = accountDetailsText();
  const dialog = useModal();
  const { value: error } = loaded.error;
  const account = loaded.value.value?.id === id ? loaded.value.value : undefined;
  const isGone = error?.status === 404;
  return (
    // biome-ignore lint/a11y/useKeyWithClickEvents: Escape does what a press beside it does.
    <dialog
      ref={dialog}
      class="drawer"
      aria-label={account ? nameOf(account) : frameText().accounts}
      onCancel={(event) => {
        event.preventDefault();
        given.onClose();
      }}
      onClick={({ target }) => {
        if (target === dialog.current) given.onClose();
      }}
    >
      <div class="drawer-inside">
        <header>
          <h2 tabIndex={-1} autofocus>
            {account && <Title account={account} />}
          </h2>
          <Button kind="quiet" icon="close" label={frameText().close} onClick={given.onClose} />
        </header>
        <div class="drawer-body">
          {isGone && <Notice tone="rest">{text.notFound}</Notice>}
          {error && !isGone && <Fault error={error} retry={loaded.reload} />}
          {!account && !error && <Loading />}
          {account && !isGone && <Parts account={account} actions={actions} />}
        </div>
      </div>
      <Toasts />
    </dialog>
  );
}

function Title({ account }: { readonly account: AccountDetails }) {
  const { email, provider } = account;
  return (
    <>
      <bdi>{email === null ? nameOf(account) : <Email address={email} />}</bdi>
      <span class="note">{provider}</span>
    </>
  );
}

function Parts({ account, actions }: { readonly account: AccountDetails; readonly actions: AccountActions }) {
  const text = accountDetailsText();
  const main = mainAction(account, actions.canLogIn(account.provider));
  return (
    <>
      <Part>
        <State account={account} canLogIn={main === 'login'} />
        <div class="actions">
          <Button
            {...(main === 'check' ? {} : { kind: 'primary' })}
            onClick={() => actions.run(main, account)}
          >
            {actionLabel(main, account)}
          </Button>
          <Button onClick={() => actions.run('edit', account)}>{accountsText().edit}</Button>
          <Menu
            label={accountsText().more}
            items={menuActions(account, actions.canLogIn(account.provider))
              .filter((action) => action !== 'show' && action !== 'edit')
              .map((action) => ({
                label: actionLabel(action, account),
                isDanger: action === 'remove',
                onSelect: () => actions.run(action, account),
              }))}
          />
        </div>
        {account.status_evidence && (
          <Evidence evidence={account.status_evidence} isOpen={account.status_end?.by === 'owner'} />
        )}
      </Part>
      <Part title={text.quota}>
        <QuotaCell account={account} />
        {account.quota && (
          <Facts
            facts={[
              [text.usedOf, account.quota.used !== null && shownNumber(account.quota.used, 2)],
              [text.resetAt, account.quota.reset_at !== null && <Time at={account.quota.reset_at} />],
              [text.checkedAt, <Time key="checked" at={account.quota.checked_at} relative />],
              [
                text.nextCheck,
                account.next_check_at !== null && <Time at={account.next_check_at} relative />,
              ],
            ]}
          />
        )}
      </Part>
      {account.credential === 'refresh_token' && <Token account={account} />}
      <Use account={account} />
      {session.value?.service === 'gateway' && (
        <Part title={text.latestTurns}>
          <AccountTurns id={account.id} />
        </Part>
      )}
      <Settings account={account} />
      <Part title={text.sessions}>
        <Sessions id={account.id} holders={account.holders} />
      </Part>
      <Part title={text.audit}>
        <AccountAudit id={account.id} changedAt={account.updated_at} />
      </Part>
    </>
  );
}

function Part({ title, children }: { readonly title?: string; readonly children: ComponentChildren }) {
  return (
    <section class="part">
      {title && <h3>{title}</h3>}
      {children}
    </section>
  );
}

function State({ account, canLogIn }: { readonly account: AccountDetails; readonly canLogIn: boolean }) {
  const text = accountDetailsText();
  const { status, status_end: end, status_reason: reason, status_since: since, lendable } = account;
  const ownerEnds = {
    enable: text.ownerEnables,
    replace_credential: canLogIn ? text.ownerLogsIn : text.ownerReplaces,
    remove: text.ownerRemoves,
  };
  const ends = {
    time: text.timeEnds,
    check: text.checkEnds,
    refresh: text.refreshEnds,
    replenishing: text.replenishingEnds,
    owner: end?.action ? ownerEnds[end.action] : '',
  };
  return (
    <div class="state">
      <p>
        <StateBadge status={status} />
        {since !== null && (
          <span class="note">
            {text.since} <Time at={since} />
          </span>
        )}
      </p>
      {reason !== null && <p>{reasonText(reason)}</p>}
      {end && (
        <p class="note">
          {ends[end.by]}{' '}
          {end.at !== null && (
            <strong>
              <StateEnd account={account} />
            </strong>
          )}
        </p>
      )}
      {status === 'active' && (
        <p class="note">
          {lendable.now ? text.lendable : text.notLendable(standingWord(lendable.reason ?? ''))}
        </p>
      )}
      {account.probe === 'unproved' && status === 'active' && <p class="note">{text.unproved}</p>}
    </div>
  );
}

function Token({ account }: { readonly account: AccountDetails }) {
  const text = accountDetailsText();
  const { refresh_failure: failure } = account;
  return (
    <Part title={text.token}>
      {failure && account.status !== 'reauth_required' && (
        <Notice tone="rest">
          {text.refreshFailed(shownNumber(failure.in_a_row))} (<Time at={failure.at} />
          ): <bdi>{failure.message}</bdi>
        </Notice>
      )}
      <Facts
        facts={[
          [text.tokenExpires, <Time key="expires" at={account.token_expires_at} />],
          [text.lastRefresh, <Time key="last" at={account.last_refresh_time} />],
          [text.nextRefresh, <Time key="next" at={account.next_refresh_at} />],
        ]}
      />
      <p class="note">{text.ceiling}</p>
    </Part>
  );
}

function Use({ account }: { readonly account: AccountDetails }) {
  const text = accountDetailsText();
  const { usage } = account;
  return (
    <Part title={text.use}>
      <Facts
        facts={[
          [text.slots, `${account.slots_in_use} / ${account.capacity}`],
          [text.turns, shownNumber(usage.turns)],
          [text.tokens, `${shownCompact(usage.input_tokens)} / ${shownCompact(usage.output_tokens)}`],
          [text.credits, usage.credits > 0 && shownNumber(usage.credits, 2)],
          [text.cost, usage.cost_cents > 0 && shownCents(usage.cost_cents)],
          [
            accountsText().lastUsed,
            account.last_used === null ? accountsText().never : <Time at={account.last_used} relative />,
          ],
        ]}
      />
      {account.last_skips.length > 0 && (
        <details>
          <summary>{text.skips}</summary>
          <ul class="plain">
            {account.last_skips.map(({ at, reason, session_id: session }) => (
              <li key={`${at} ${session}`}>
                <Time at={at} /> {standingWord(reason)} <code>{session}</code>
              </li>
            ))}
          </ul>
        </details>
      )}
    </Part>
  );
}

function Settings({ account }: { readonly account: AccountDetails }) {
  const text = accountDetailsText();
  const kind = account.credential === 'api_key' ? text.apiKey : text.refreshToken;
  const { credential_hint: end } = account;
  // Of a short secret nothing is shown.
  const hint = end === '' ? text.none : end.includes('*') ? kind : `${kind}, ${text.endsWith(end)}`;
  return (
    <Part title={text.settings}>
      <Facts
        facts={[
          [text.id, <Copied key="id" value={account.id} />],
          [accountsText().label, account.label !== null && <bdi>{account.label}</bdi>],
          [text.kind, hint],
          [text.capacity, shownNumber(account.capacity)],
          [text.tier, shownNumber(account.tier)],
          [text.lend, account.lend === 'any' ? text.lendAny : text.lendGateway],
          [text.plan, account.free ? text.freePlan : text.paidPlan],
          [text.models, account.models === null ? text.allModels : account.models.join(', ')],
          [text.team, account.team_uid !== null && <code>{account.team_uid}</code>],
          [accountsText().source, shownSource(account.source)],
          [text.added, <Time key="added" at={account.created_at} />],
        ]}
      />
    </Part>
  );
}

/** `holders`: when that changes, the sessions have. */
function Sessions({ id, holders }: { readonly id: string; readonly holders: number }) {
  const text = accountDetailsText();
  const loaded = useLoaded(
    async (abort) => (await api.get<SessionsAnswer>('/api/sessions', { account_id: id }, abort)).sessions,
    [id, holders],
  );
  return (
    <Shown of={loaded}>
      {(sessions) => (
        <ul class="plain">
          {sessions.length === 0 && <li class="note">{text.noSessions}</li>}
          {sessions.map((session) => (
            <SessionLine key={session.id} session={session} />
          ))}
        </ul>
      )}
    </Shown>
  );
}

function SessionLine({ session }: { readonly session: Session }) {
  const text = accountDetailsText();
  const words = [session.gateway && text.gatewaySession, session.exclusive ? text.exclusive : text.shared];
  return (
    <li>
      <code>{session.id}</code> <span class="note">{words.filter(Boolean).join(', ')}</span>{' '}
      <span class="note">
        {text.until} <Time at={session.expires_at} />
      </span>
    </li>
  );
}
