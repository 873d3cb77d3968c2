import { randomUUID } from 'node:crypto';
import { createLimit } from '../../lib/limit.ts';
import { type ImportedAccount, parseImport } from '../../pool-api/import-format.ts';
import { settingsOf } from '../account-settings.ts';
import { openSealedFact, sealedFactPrefix, sealFact } from '../sealed-facts.ts';
import { credentialOf, type SourceTools } from './adopt.ts';
import type { Admission, Draw } from './source.ts';

/** Credentials that somebody outside has just handed out, perhaps only this once. */
export interface Deliveries {
  /** Keeps the text sealed, brings its accounts in, and forgets it. What there is no room for goes into standby. */
  receive(text: string, draw: Draw): Promise<void>;
  /** Brings in, as standby accounts, what an earlier attempt did not finish. */
  recover(): Promise<void>;
}

interface Delivery {
  readonly source: string;
  readonly at: number;
  readonly text: string;
}

/** Few, since thousands that wait together for a place in the pool would all wake whenever one is done. */
const linesAtOnce = 8;
/** A delivery of another instance that is older than this was left behind. */
const leftBehindMs = 600_000;

export function createDeliveries(source: string, { context, adopt }: SourceTools): Deliveries {
  const { store, clock, logger, vault } = context;
  const prefix = `${sealedFactPrefix}delivery:${source}:`;
  const underWay = new Set<string>();

  const take = (account: ImportedAccount, actor: string, isStandby: boolean) =>
    adopt(
      { provider: account.provider, source, settings: settingsOf(account) },
      credentialOf(account),
      actor,
      { isStandby },
    );

  const bring = async (label: string, account: ImportedAccount, draw: Draw): Promise<void> => {
    const shelve = () => draw.shelve(label, () => take(account, draw.actor, true));
    if (account.standby === true) await shelve();
    else {
      const admission = await draw.admit(label, () => take(account, draw.actor, false));
      if (admission.result === 'no_room') await shelve();
    }
  };

  return {
    async receive(text, draw) {
      const lines = parseImport(text);
      if (lines.length === 0) return;
      const fact = `${prefix}${randomUUID()}`;
      underWay.add(fact);
      try {
        const sealed = sealFact(vault, fact, { source, at: clock.now(), text } satisfies Delivery);
        await store.remember(fact, sealed);
        const limit = createLimit(linesAtOnce);
        await Promise.all(
          lines.map((one) =>
            limit(async () => {
              const label = `${source} line ${one.line}`;
              if ('problem' in one) draw.fault(`${label}: ${one.problem}`);
              else await bring(label, one.account, draw);
            }),
          ),
        );
        await store.swapRemembered(fact, sealed, null);
      } finally {
        underWay.delete(fact);
      }
    },

    async recover() {
      for (const { name, value } of await store.rememberedUnder(prefix)) {
        const delivery = underWay.has(name) ? null : (openSealedFact(vault, name, value) as Delivery);
        const isOurs = !store.isShared || (delivery?.at ?? 0) < clock.now() - leftBehindMs;
        if (delivery === null || !isOurs) continue;
        const results: Admission['result'][] = [];
        for (const one of parseImport(delivery.text)) {
          if ('account' in one) results.push((await take(one.account, 'housekeeper', true)).result);
        }
        await store.swapRemembered(name, value, null);
        const added = results.filter((result) => result === 'added').length;
        logger.info({ source, added }, 'accounts of a delivery that was broken off are in standby now');
      }
    },
  };
}
