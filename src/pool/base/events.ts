import { EventFeed } from '../../lib/api/event-feed.ts';
import type { PoolEvent } from '../../pool-api/schema.ts';
import type { Changes, News } from '../store/store.ts';

/** The pool's events, and those who wait for a place to come free. */
export class EventHub extends EventFeed<PoolEvent> {
  readonly #onFreed: (() => void)[] = [];

  /** Publishes what a verb of the store has changed, and wakes those that wait when a place may have come free. */
  changed({ accounts, hasFreed }: Changes): void {
    for (const { id, provider, state, free } of accounts) {
      this.publish({ type: 'account-changed', account_id: id, provider, status: state, free });
    }
    if (hasFreed) this.freed();
  }

  /** Publishes what another instance on the same database did, as if it had been done here. */
  heard(news: News): void {
    switch (news.type) {
      case 'changes':
        this.changed(news.changes);
        break;
      case 'removed':
        this.publish({ type: 'account-removed', account_id: news.id, provider: news.provider });
        break;
      case 'wanted':
        this.publish({ type: 'lease-wanted', account_ids: [...news.accountIds] });
        break;
    }
  }

  freed(): void {
    for (const wake of this.#onFreed) wake();
  }

  whenFreed(wake: () => void): void {
    this.#onFreed.push(wake);
  }
}
