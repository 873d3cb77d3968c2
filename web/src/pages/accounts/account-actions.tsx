import { signal } from '@preact/signals';
import type { Account } from '../../../../src/pool-api/account-schema.ts';
import type { BulkAnswer, ProvidersAnswer } from '../../../../src/pool-api/owner-schema.ts';
import { api } from '../../api.ts';
import { toast, toastFault } from '../../components/toast.tsx';
import { goTo } from '../../navigation.ts';
import { accountsText } from '../../texts/accounts.ts';
import { type AccountList, nameOf } from './account-list.ts';
import type { LoginWish } from './login-dialog.tsx';

export type AccountAction =
  | 'show'
  | 'check'
  | 'refresh'
  | 'edit'
  | 'replace'
  | 'login'
  | 'enable'
  | 'disable'
  | 'remove';

/** What a dialog is open for. */
export type Asked =
  | { readonly kind: 'edit' | 'replace' | 'disable' | 'remove'; readonly account: Account }
  | { readonly kind: 'login'; readonly wish: LoginWish }
  | { readonly kind: 'add' | 'sources' };

export type Provider = ProvidersAnswer['providers'][number];

/** The one thing that helps an account most. */
export function mainAction({ status, status_end, credential }: Account, canLogIn: boolean): AccountAction {
  if (status === 'standby' || status === 'disabled') return 'enable';
  if (status !== 'reauth_required') return 'check';
  if (status_end?.action === 'remove') return 'remove';
  return credential === 'refresh_token' && canLogIn ? 'login' : 'replace';
}

export function menuActions(account: Account, canLogIn: boolean): readonly AccountAction[] {
  const { status, credential } = account;
  const isOut = status === 'disabled' || status === 'reauth_required' || status === 'standby';
  const all: readonly (AccountAction | false)[] = [
    'show',
    !isOut && 'check',
    credential === 'refresh_token' && status !== 'disabled' && status !== 'reauth_required' && 'refresh',
    'edit',
    'replace',
    credential === 'refresh_token' && canLogIn && 'login',
    isOut && 'enable',
    status !== 'disabled' && 'disable',
    'remove',
  ];
  const main = mainAction(account, canLogIn);
  return all.filter((action) => action !== false && action !== main) as readonly AccountAction[];
}

export function actionLabel(action: AccountAction, { credential }: Account, isShort = false): string {
  const text = accountsText();
  switch (action) {
    case 'login':
      return text.logIn;
    case 'replace':
      if (credential === 'api_key') return text.replaceKey;
      return isShort ? text.replaceTokenShort : text.replaceToken;
    case 'check':
      return isShort ? text.checkShort : text.check;
    default:
      return text[action];
  }
}

/** Runs the actions of single accounts, or asks first by the dialog in `asked`. */
export class AccountActions {
  readonly asked = signal<Asked | undefined>(undefined);
  readonly providers = signal<readonly Provider[]>([]);
  readonly #list: AccountList;

  constructor(list: AccountList) {
    this.#list = list;
  }

  async loadProviders(): Promise<void> {
    if (this.providers.peek().length > 0) return;
    try {
      this.providers.value = (await api.get<ProvidersAnswer>('/api/accounts/providers')).providers;
    } catch (error) {
      toastFault(error);
    }
  }

  canLogIn(provider: string): boolean {
    return this.providers.value.some(({ name, login }) => name === provider && login);
  }

  run(action: AccountAction, account: Account): Promise<void> | undefined {
    switch (action) {
      case 'show':
        goTo('accounts', [account.id]);
        return undefined;
      case 'enable':
      case 'check':
      case 'refresh':
        return this.runNow(action, account);
      case 'login':
        this.ask({ kind: 'login', wish: { provider: account.provider, account } });
        return undefined;
      default:
        this.ask({ kind: action, account });
        return undefined;
    }
  }

  /** Opens a dialog, or closes the one that is open. */
  ask(asked: Asked | undefined): void {
    this.asked.value = asked;
    // The pool may have been unreachable when the page was loaded.
    if (asked?.kind === 'add') void this.loadProviders();
  }

  async runNow(
    action: 'enable' | 'check' | 'refresh' | 'disable' | 'remove',
    account: Account,
  ): Promise<void> {
    const text = accountsText();
    const said = {
      enable: text.enabled,
      check: text.checked,
      refresh: text.refreshed,
      disable: text.disabledDone,
      remove: text.removed,
    };
    try {
      const { results } = await api.post<BulkAnswer>('/api/accounts/bulk', { action, ids: [account.id] });
      const result = results[0];
      if (result?.result === 'done') toast(said[action](nameOf(account)));
      else
        toast(
          text.notDone(nameOf(account), result?.reason ?? ''),
          result?.result === 'failed' ? 'bad' : 'rest',
        );
    } catch (error) {
      toastFault(error);
    }
    await this.#list.reload([account.id]);
  }
}
