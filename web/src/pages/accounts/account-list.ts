import { effect, signal } from '@preact/signals';
import { useEffect, useState } from 'preact/hooks';
import type { Account, ListAnswer } from '../../../../src/pool-api/account-schema.ts';
import { type ApiError, api, asError } from '../../api.ts';
import { accountChanges, connection, onLive } from '../../live.ts';
import { blursEmails } from '../../preferences.ts';

const pageSize = 1_000;
/** More than this a table is no help with, and a browser takes long to hold. */
const mostShown = 10_000;
const idsAtOnce = 100;
/** Places in use, figures and times of use change without an event. */
const reloadMs = 10_000;
const reloadManyMs = 60_000;
const many = 500;

/** All accounts of the pool as they change. They are sorted and filtered here: thousands of rows are little, and it is at once. */
export class AccountList {
  /** By id, in the order in which they were added. */
  readonly accounts = signal<ReadonlyMap<string, Account>>(new Map());
  readonly total = signal(0);
  readonly isLoading = signal(true);
  readonly error = signal<ApiError | undefined>(undefined);
  readonly #changed = new Set<string>();
  /** What was read while all is being loaded: it is newer than what that brings. Undefined: gone. */
  readonly #newer = new Map<string, Account | undefined>();
  #loading: AbortController | undefined;

  /** The answer ends it. */
  start(): () => void {
    void this.load();
    const stopListening = onLive((event) => {
      if (event.type === 'account-changed' || event.type === 'account-removed')
        this.#changed.add(event.account_id);
    });
    let seen = accountChanges.peek();
    const stopWatching = effect(() => {
      if (accountChanges.value === seen) return;
      seen = accountChanges.value;
      // Changes without names: the service no longer knows what was missed.
      if (this.#changed.size === 0) void this.load();
      else void this.reload([...this.#changed]);
      this.#changed.clear();
    });
    let wasLost = false;
    const stopReconnecting = effect(() => {
      if (connection.value === 'live' && wasLost) void this.load();
      if (connection.value === 'lost') wasLost = true;
      if (connection.value === 'live') wasLost = false;
    });
    let sinceLoad = 0;
    const timer = setInterval(() => {
      sinceLoad += reloadMs;
      const due = this.total.peek() > many ? reloadManyMs : reloadMs;
      if (document.hidden || sinceLoad < due) return;
      sinceLoad = 0;
      void this.load();
    }, reloadMs);
    return () => {
      clearInterval(timer);
      stopListening();
      stopWatching();
      stopReconnecting();
      this.#loading?.abort();
    };
  }

  async load(): Promise<void> {
    this.#loading?.abort();
    const abort = new AbortController();
    this.#loading = abort;
    const isFirst = this.accounts.peek().size === 0;
    const found = new Map<string, Account>();
    this.#newer.clear();
    let after: string | null = '';
    try {
      while (after !== null && found.size < mostShown) {
        const query: Record<string, string | number> = { limit: pageSize, after };
        const page: ListAnswer = await api.get('/api/accounts', query, abort.signal);
        for (const account of page.accounts) found.set(account.id, account);
        this.total.value = page.total;
        if (isFirst) this.accounts.value = new Map(found);
        after = page.next_after;
      }
      if (abort.signal.aborted) return;
      for (const [id, account] of this.#newer) put(found, id, account);
      this.accounts.value = found;
      this.error.value = undefined;
      this.isLoading.value = false;
    } catch (thrown) {
      if (abort.signal.aborted) return;
      this.error.value = asError(thrown);
      this.isLoading.value = false;
    }
  }

  /** Those that are named; one that is not there any more goes. */
  async reload(ids: readonly string[]): Promise<void> {
    if (ids.length > idsAtOnce) return this.load();
    try {
      const { accounts: present }: ListAnswer = await api.get('/api/accounts', {
        ids: ids.join(','),
        limit: idsAtOnce,
      });
      const next = new Map(this.accounts.peek());
      for (const id of ids) {
        const account = present.find((one) => one.id === id);
        put(next, id, account);
        this.#newer.set(id, account);
      }
      this.total.value += next.size - this.accounts.peek().size;
      this.accounts.value = next;
    } catch {
      // The list is loaded as a whole before long, and says then what is wrong.
    }
  }
}

function put(accounts: Map<string, Account>, id: string, account: Account | undefined): void {
  if (account === undefined) accounts.delete(id);
  else accounts.set(id, account);
}

export function useAccountList(): AccountList {
  const [list] = useState(() => new AccountList());
  useEffect(() => list.start(), [list]);
  return list;
}

const rightToLeft = /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]/;

/** What a person calls it by, in sentences and names of buttons. Where addresses are blurred it is hidden in part. */
export function nameOf({ email, label, id }: Pick<Account, 'email' | 'label' | 'id'>): string {
  const name = email === null ? (label ?? shortId(id)) : blursEmails.value === 'yes' ? masked(email) : email;
  // Isolated, so that it does not turn the words around it.
  return rightToLeft.test(name) ? `\u2068${name}\u2069` : name;
}

function masked(email: string): string {
  const [first = '', domain] = email.split('@', 2);
  return `${first.slice(0, 1)}…${domain === undefined ? '' : `@${domain.slice(0, 1)}…`}`;
}

export function shortId(id: string): string {
  return id.length > 16 ? `${id.slice(0, 12)}…` : id;
}
