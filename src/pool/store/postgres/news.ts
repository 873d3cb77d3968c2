import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import type { Postgres } from '../../../db/postgres.ts';
import { parseJson } from '../../../lib/parse-json.ts';
import { accountState } from '../../../pool-api/schema.ts';
import type { ChangedAccount, Changes, News } from '../store.ts';
import { ChangeLog } from '../verbs/transaction.ts';

/** The messages between instances on one database, by NOTIFY. */
export type NewsExchange = Awaited<ReturnType<typeof openNews>>;

const channel = 'warp2api_pool';
/** PostgreSQL takes payloads of less than 8000 bytes. */
const mostBytes = 7500;
/** The most ids that are sent for one call for leases. */
const mostWanted = 100;
/** A stream of releases becomes so many messages at most. */
const pauseMs = 20;

/** Every user of the database may send to any of its channels. */
const messageSchema = z.object({
  from: z.string(),
  news: z.discriminatedUnion('type', [
    z.object({
      type: z.literal('changes'),
      changes: z.object({
        accounts: z.array(
          z.object({ id: z.string(), provider: z.string(), state: accountState, free: z.boolean() }),
        ),
        hasFreed: z.boolean(),
      }),
    }),
    z.object({ type: z.literal('removed'), id: z.string(), provider: z.string() }),
    z.object({ type: z.literal('wanted'), accountIds: z.array(z.string()) }),
  ]),
});

/** Opens a connection that listens. `onTrouble` gets what could not be sent. */
export async function openNews(
  db: Postgres,
  onTrouble: (error: unknown) => void,
  hold: 'shared' | 'exclusive' = 'shared',
) {
  const self = randomUUID();
  const listeners: ((news: News) => void)[] = [];
  let waiting: News[] = [];
  let log = new ChangeLog();
  let sending: Promise<void> | undefined;
  let lastSentAt = Number.NEGATIVE_INFINITY;
  let isClosing = false;
  let hasWarned = false;

  const hear = (news: News): void => {
    for (const listener of listeners) listener(news);
  };

  const send = async (): Promise<void> => {
    const pause = lastSentAt + pauseMs - performance.now();
    if (pause > 0 && !isClosing) await sleep(pause);
    const changes = log.changes();
    const payloads = [...changeNews(changes), ...waiting].map((news) => JSON.stringify({ from: self, news }));
    log = new ChangeLog();
    waiting = [];
    lastSentAt = performance.now();
    try {
      await db.writing.run(
        'SELECT pg_notify($1, payload) FROM unnest($2::text[]) AS payload',
        channel,
        payloads,
      );
    } catch (error) {
      // The others find out when they look; what happened has happened.
      onTrouble(error);
    }
  };

  const startSending = (): Promise<void> => {
    if (sending !== undefined) return sending.then(startSending);
    if (waiting.length === 0 && !hasNews(log.changes())) return Promise.resolve();
    sending = send().finally(() => {
      sending = undefined;
    });
    return sending;
  };

  const listening = await db.listen(
    channel,
    (payload) => {
      const message = messageSchema.safeParse(parseJson(payload)).data;
      if (message !== undefined) {
        if (message.from !== self) hear(message.news);
      } else if (!hasWarned) {
        hasWarned = true;
        onTrouble(new Error(`something else than a pool sends to the channel ${channel} of this database`));
      }
    },
    // Whatever was missed: callers that wait for an account look again.
    () => hear({ type: 'changes', changes: { accounts: [], hasFreed: true } }),
    hold,
  );

  return {
    listen: (listener: (news: News) => void): void => void listeners.push(listener),
    /** Resolves once it is sent. News that comes while a message is being sent goes out together. */
    tell(news: News): Promise<void> {
      if (isClosing) return Promise.resolve();
      if (news.type === 'changes') {
        log.add(news.changes);
      } else if (news.type === 'wanted') {
        waiting.push({ type: 'wanted', accountIds: fitting(news.accountIds.slice(0, mostWanted)) });
      } else {
        waiting.push(news);
      }
      return startSending();
    },
    /** Sends what is waiting, then stops sending and listening. */
    async close(): Promise<void> {
      isClosing = true;
      await startSending();
      await listening.close();
    },
  };
}

export function hasNews({ accounts, hasFreed }: Changes): boolean {
  return hasFreed || accounts.length > 0;
}

/** Changes in messages that are small enough. */
function changeNews(changes: Changes): News[] {
  if (!hasNews(changes)) return [];
  const messages: News[] = [];
  let rest: readonly ChangedAccount[] = changes.accounts;
  do {
    const accounts = fitting(rest);
    rest = rest.slice(accounts.length);
    messages.push({ type: 'changes', changes: { accounts, hasFreed: changes.hasFreed } });
  } while (rest.length > 0);
  return messages;
}

/** As many of the first items as go into one message, and at least one. */
function fitting<Item>(items: readonly Item[]): Item[] {
  let bytes = 200;
  const fit: Item[] = [];
  for (const item of items) {
    bytes += Buffer.byteLength(JSON.stringify(item)) + 1;
    if (fit.length > 0 && bytes > mostBytes) break;
    fit.push(item);
  }
  return fit;
}
