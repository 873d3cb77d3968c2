import { randomUUID } from 'node:crypto';
import { createLimit } from '../../lib/limit.ts';
import { type ImportedAccount, parseImport } from '../../pool-api/import-format.ts';
import { credentialIn } from '../accounts/adding.ts';
import { type Admission, importAccount } from '../accounts/import-account.ts';
import { settingsOf } from '../base/present.ts';
import { openSealedFact, sealedFactPrefix, sealFact } from '../vault/vault.ts';
import type { Batch } from './batch.ts';
import type { SourceTools } from './source.ts';

interface Delivery {
  readonly source: string;
  readonly at: number;
  readonly text: string;
}

/** Few, since thousands that wait together for a place in the pool would all wake whenever one is done. */
const linesAtOnce = 8;
/** A delivery of another instance that is older than this was left behind. */
const leftBehindMs = 600_000;

/** Credentials that a program outside has just handed out, perhaps only this once. */
export class Deliveries {
  readonly #source: string;
  readonly #tools: SourceTools;
  readonly #prefix: string;
  readonly #running = new Set<string>();

  constructor(source: string, tools: SourceTools) {
    this.#source = source;
    this.#tools = tools;
    this.#prefix = `${sealedFactPrefix}delivery:${source}:`;
  }

  /** Keeps the text sealed, brings its accounts in, and forgets it. What there is no place for goes into standby. */
  async receive(text: string, batch: Batch): Promise<void> {
    const lines = parseImport(text);
    if (lines.length === 0) return;
    const { store, clock, vault } = this.#tools.basics;
    const source = this.#source;
    const fact = `${this.#prefix}${randomUUID()}`;
    this.#running.add(fact);
    try {
      const sealed = sealFact(vault, fact, { source, at: clock.now(), text } satisfies Delivery);
      await store.remember(fact, sealed);
      const limit = createLimit(linesAtOnce);
      await Promise.all(
        lines.map((one) =>
          limit(async () => {
            const label = `${source} line ${one.line}`;
            if ('problem' in one) batch.fault(`${label}: ${one.problem}`);
            else await this.#bring(label, one.account, batch);
          }),
        ),
      );
      await store.swapRemembered(fact, sealed, null);
    } finally {
      this.#running.delete(fact);
    }
  }

  /** Brings in, as standby accounts, what an earlier attempt did not finish. */
  async recover(): Promise<void> {
    const { store, clock, vault, logger } = this.#tools.basics;
    for (const { name, value } of await store.rememberedUnder(this.#prefix)) {
      const delivery = this.#running.has(name) ? null : (openSealedFact(vault, name, value) as Delivery);
      const isOurs = !store.isShared || (delivery?.at ?? 0) < clock.now() - leftBehindMs;
      if (delivery === null || !isOurs) continue;
      const results: Admission['result'][] = [];
      for (const one of parseImport(delivery.text)) {
        if ('account' in one) results.push((await this.#take(one.account, 'housekeeper', true)).result);
      }
      await store.swapRemembered(name, value, null);
      const added = results.filter((result) => result === 'added').length;
      logger.info(
        { source: this.#source, added },
        'accounts of a delivery that was broken off are in standby now',
      );
    }
  }

  async #bring(label: string, account: ImportedAccount, batch: Batch): Promise<void> {
    const { actor } = batch;
    if (account.standby !== true) {
      const admission = await batch.admit(label, () => this.#take(account, actor, false));
      if (admission.result !== 'no_room') return;
    }
    await batch.hold(label, () => this.#take(account, actor, true));
  }

  #take(account: ImportedAccount, actor: string, isStandby: boolean): Promise<Admission> {
    const added = { provider: account.provider, source: this.#source, settings: settingsOf(account) };
    return importAccount(this.#tools, added, credentialIn(account), actor, isStandby);
  }
}
