import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import { createLimit } from '../../lib/limit.ts';
import { type ImportedAccount, parseImport } from '../../pool-api/import-format.ts';
import { credentialIn } from '../accounts/adding.ts';
import { type Admission, importAccount } from '../accounts/transfer.ts';
import { Facts, sealedForm } from '../base/facts.ts';
import { settingsOf } from '../base/present.ts';
import { sealedFactPrefix } from '../vault/vault.ts';
import type { Batch } from './batch.ts';
import type { SourceTools } from './source.ts';

const delivery = z.object({ source: z.string(), at: z.number(), text: z.string() });

/** Few, since thousands that wait together for a place in the pool would all wake whenever one is done. */
const linesAtOnce = 8;
/** A delivery of another instance that is older than this was left behind. */
const leftBehindMs = 600_000;

/** Credentials that a program outside has just handed out, perhaps only this once. */
export class Deliveries {
  readonly #source: string;
  readonly #tools: SourceTools;
  readonly #facts: Facts<z.infer<typeof delivery>>;
  readonly #running = new Set<string>();

  constructor(source: string, tools: SourceTools) {
    this.#source = source;
    this.#tools = tools;
    const { store, vault } = tools.basics;
    this.#facts = new Facts(store, `${sealedFactPrefix}delivery:${source}:`, sealedForm(vault, delivery));
  }

  /** Keeps the text sealed, brings its accounts in, and forgets it. What there is no place for goes into standby. */
  async receive(text: string, batch: Batch): Promise<void> {
    const lines = parseImport(text);
    if (lines.length === 0) return;
    const source = this.#source;
    const id = randomUUID();
    this.#running.add(id);
    try {
      const kept = await this.#facts.add(id, { source, at: this.#tools.basics.clock.now(), text });
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
      await this.#facts.forget(kept);
    } finally {
      this.#running.delete(id);
    }
  }

  /** Brings in, as standby accounts, what an earlier attempt did not finish. */
  async recover(): Promise<void> {
    const { store, clock, logger } = this.#tools.basics;
    for (const kept of await this.#facts.all()) {
      const { at, text } = kept.value;
      const isOurs = !store.isShared || at < clock.now() - leftBehindMs;
      if (!isOurs || this.#running.has(kept.name.slice(kept.name.lastIndexOf(':') + 1))) continue;
      const results: Admission['result'][] = [];
      for (const one of parseImport(text)) {
        if ('account' in one) results.push((await this.#take(one.account, 'housekeeper', true)).result);
      }
      await this.#facts.forget(kept);
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
