import type { Account } from '../../../../src/pool-api/account-schema.ts';
import { Bar } from '../../components/bar.tsx';
import { Badge, type Tone } from '../../components/page.tsx';
import { Countdown } from '../../components/time.tsx';
import { now, shownNumber } from '../../format.ts';
import { reasonText } from '../../texts/account-reasons.ts';
import { accountsText } from '../../texts/accounts.ts';

export const tones: Record<Account['status'], Tone> = {
  active: 'ok',
  cooldown: 'rest',
  exhausted: 'spent',
  reauth_required: 'bad',
  disabled: 'quiet',
  standby: 'accent',
};

export function StateBadge({ status }: { readonly status: Account['status'] }) {
  return <Badge tone={tones[status]}>{accountsText()[status]}</Badge>;
}

/** A state in words; one that this page does not know is shown as it is. */
export function shownState(status: string): string {
  return Object.hasOwn(tones, status) ? accountsText()[status as Account['status']] : status;
}

/** Where an account came from; a source of the configuration file has its own name. */
export function shownSource(source: string): string {
  if (source === 'api') return accountsText().fromApi;
  return source === 'env' ? accountsText().fromEnv : source;
}

/** What will end the state, with the time left. */
export function StateEnd({ account: { status_end: end } }: { readonly account: Account }) {
  const text = accountsText();
  if (!end || end.by === 'owner') return null;
  if (end.by === 'replenishing') return <>{text.endReplenishing}</>;
  const [coming, due] = {
    time: [text.endTime, text.endTimeDue] as const,
    check: [text.endCheck, text.endCheckDue] as const,
    refresh: [text.endRefresh, text.endRefreshDue] as const,
  }[end.by];
  if (end.at === null || Date.parse(end.at) <= now.value) return <>{due}</>;
  return (
    <>
      {coming} <Countdown to={end.at} />
    </>
  );
}

/** State, reason and end below each other, as in the table. */
export function StateCell({ account }: { readonly account: Account }) {
  const reason = reasonText(account.status_reason);
  return (
    <div class="state-cell">
      <StateBadge status={account.status} />
      {reason && <div class="note">{reason}</div>}
      {account.status_end && account.status_end.by !== 'owner' && (
        <div class="note">
          <StateEnd account={account} />
        </div>
      )}
    </div>
  );
}

/** How much of the quota is used: 0 to 1; undefined where that is not known. */
export function usedShare({ quota }: Pick<Account, 'quota'>): number | undefined {
  if (!quota || quota.is_unlimited || !quota.limit) return undefined;
  const left = quota.remaining ?? (quota.used === null ? undefined : quota.limit - quota.used);
  return left === undefined ? undefined : Math.min(1, Math.max(0, 1 - left / quota.limit));
}

export function QuotaCell({ account }: { readonly account: Account }) {
  const text = accountsText();
  const { quota } = account;
  const share = usedShare(account);
  if (!quota) return <span class="note">{text.noFigures}</span>;
  if (quota.is_unlimited) return <span>{text.unlimited}</span>;
  const left =
    quota.remaining ?? (quota.limit === null || quota.used === null ? null : quota.limit - quota.used);
  if (left === null && !quota.denial_reason) return <span class="note">{text.noFigures}</span>;
  return (
    <div class="quota-cell">
      {share !== undefined && <Bar label={text.quota} share={share} isBare />}
      {left !== null && (
        <div>
          {quota.limit
            ? text.left(shownNumber(left), shownNumber(quota.limit))
            : text.leftOnly(shownNumber(left, 2))}
        </div>
      )}
      {quota.denial_reason && left !== 0 && <div class="bad">{text.denied(quota.denial_reason)}</div>}
      {quota.reset_at && <div class="note">{<Reset at={quota.reset_at} />}</div>}
    </div>
  );
}

function Reset({ at }: { readonly at: string }) {
  const text = accountsText();
  if (Date.parse(at) <= now.value) return <>{text.resetDue}</>;
  return (
    <>
      {text.resetsIn} <Countdown to={at} />
    </>
  );
}
