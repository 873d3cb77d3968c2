import { useSignal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import { encode } from 'uqr';
import type { Account, Login, LoginAnswer } from '../../../../src/pool-api/account-schema.ts';
import { type ApiError, api, asError } from '../../api.ts';
import { Button } from '../../components/button.tsx';
import { CopyButton } from '../../components/copy.tsx';
import { Dialog } from '../../components/dialog.tsx';
import { Fault, Loading, Notice } from '../../components/page.tsx';
import { Countdown } from '../../components/time.tsx';
import { now } from '../../format.ts';
import { onLive } from '../../live.ts';
import { linkTo } from '../../navigation.ts';
import { addingText } from '../../texts/account-adding.ts';
import { nameOf } from './account-list.ts';

const lookMs = 3_000;
/** A longer address makes a picture that no phone reads, and from some length on none at all. */
const longestQr = 400;

/** What a login is begun for; or one that waits already. */
export type LoginWish =
  | { readonly provider: string; readonly label?: string }
  | { readonly provider: string; readonly account: Account }
  | { readonly loginId: string };

/** Shows the code of a login as text and picture, and what becomes of it. */
export function LoginDialog({ wish, onClose }: { readonly wish: LoginWish; readonly onClose: () => void }) {
  const text = addingText();
  const login = useSignal<Login | undefined>(undefined);
  const error = useSignal<ApiError | undefined>(undefined);
  const id = useSignal('loginId' in wish ? wish.loginId : undefined);

  async function ask(load: () => Promise<LoginAnswer>): Promise<void> {
    try {
      login.value = (await load()).login;
      id.value = login.value.id;
      error.value = undefined;
    } catch (thrown) {
      error.value = asError(thrown);
    }
  }
  const begin = (): Promise<void> => {
    const given = login.value ?? wish;
    const provider = 'provider' in given ? given.provider : '';
    const replaced = 'account' in wish ? wish.account.id : undefined;
    const label = 'label' in wish && wish.label ? wish.label : undefined;
    return ask(() =>
      api.post('/api/logins', { provider, ...(replaced ? { account_id: replaced } : { label }) }),
    );
  };
  const path = (): string => `/api/logins/${encodeURIComponent(id.peek() ?? '')}`;
  const look = (): Promise<void> => ask(() => api.get(path()));

  useEffect(() => {
    if (id.peek() === undefined) void begin();
    else void look();
    const isWaiting = () => id.peek() !== undefined && (login.peek()?.status ?? 'pending') === 'pending';
    const timer = setInterval(() => isWaiting() && void look(), lookMs);
    const stop = onLive((event) => {
      if (event.type === 'login-changed' && event.login_id === id.peek()) void look();
    });
    return () => {
      clearInterval(timer);
      stop();
    };
  }, []);

  const present = login.value;
  const title =
    'account' in wish
      ? text.loginAgainTitle(nameOf(wish.account))
      : text.loginTitle(present?.provider ?? ('provider' in wish ? wish.provider : ''));
  const isPending = present?.status === 'pending' && Date.parse(present.expires_at) > now.value;
  return (
    <Dialog
      title={title}
      onClose={onClose}
      actions={
        isPending ? (
          <Button onClick={() => ask(() => api.delete(path()))}>{text.cancelLogin}</Button>
        ) : (
          present && present.status !== 'approved' && <Button onClick={begin}>{text.startAgain}</Button>
        )
      }
    >
      {error.value && (
        <Fault error={error.value} retry={() => void (id.value === undefined ? begin() : look())} />
      )}
      {!present && !error.value && <Loading />}
      {present && isPending && <Waiting login={present} />}
      {present && !isPending && <Ended login={present} isReplaced={'account' in wish} onClose={onClose} />}
    </Dialog>
  );
}

function Waiting({ login }: { readonly login: Login }) {
  const text = addingText();
  const address = login.verification_uri_complete ?? login.verification_uri;
  return (
    <div class="login">
      {address.length <= longestQr && <QrCode address={address} label={text.scan} />}
      <div class="login-steps">
        <p>{text.scan}</p>
        <p class="login-code">
          <span class="note">{text.code}</span>
          <code>{login.user_code}</code>
          <CopyButton text={login.user_code} />
        </p>
        {isWebAddress(address) && (
          <p>
            <a class="button primary" href={address} target="_blank" rel="noreferrer noopener">
              {text.open}
            </a>
          </p>
        )}
        <p class="note address">{login.verification_uri}</p>
        <p class="login-waits">
          <span>{text.waiting}</span>
          <span class="note">
            {text.timeLeft} <Countdown to={login.expires_at} />
          </span>
        </p>
        <p class="note">{text.goesOn}</p>
      </div>
    </div>
  );
}

function Ended(given: { readonly login: Login; readonly isReplaced: boolean; readonly onClose: () => void }) {
  const text = addingText();
  const { status, error, account_id: accountId } = given.login;
  if (status === 'approved') {
    const show = accountId !== null && (
      <a class="button primary" href={linkTo('accounts', [accountId])} onClick={given.onClose}>
        {text.showAccount}
      </a>
    );
    return (
      <Notice tone="ok" action={show}>
        {given.isReplaced ? text.loginReplaced : text.loginApproved}
      </Notice>
    );
  }
  const reasons = {
    denied: text.loginDenied,
    failed: text.loginFailed(error ?? ''),
    expired: text.loginExpired,
    pending: text.loginExpired,
  };
  return <Notice tone="rest">{reasons[status]}</Notice>;
}

/** Dark on light in both themes, with the quiet border that readers need. */
function QrCode({ address, label }: { readonly address: string; readonly label: string }) {
  const { data, size } = encode(address, { ecc: 'M', border: 2 });
  const path = data
    .flatMap((row, y) => row.map((isDark, x) => (isDark ? `M${x} ${y}h1v1h-1z` : '')))
    .join('');
  return (
    <svg
      class="qr"
      role="img"
      aria-label={label}
      viewBox={`0 0 ${size} ${size}`}
      shape-rendering="crispEdges"
    >
      <path d={path} />
    </svg>
  );
}

/** A provider's answer names it: anything but a page of the web is not made a link. */
function isWebAddress(address: string): boolean {
  return /^https?:\/\//i.test(address);
}
