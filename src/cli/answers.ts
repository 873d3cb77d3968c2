import type { Command } from 'commander';
import { plainJson } from '../lib/shown-text.ts';
import type { PoolAdmin } from '../pool-api/pool.ts';
import type { CliActions } from './actions.ts';

/** What a command found or did, for programs and for people; where `failure` is there, it failed nonetheless. */
export type Shown = readonly [json: unknown, text: string, failure?: string | false];

/** Runs a command that prints text, or JSON with `--json`. `run` gets what commander gives an action. */
export function answer<Given extends unknown[]>(
  command: Command,
  actions: CliActions,
  run: (...given: Given) => Shown | Promise<Shown>,
): void {
  command.action(async (...given: unknown[]) => {
    const [json, text, failure] = await run(...(given as Given));
    actions.write(command.opts()['json'] ? formatJson(json) : text);
    if (failure) throw new Error(failure);
  });
}

/** The same of a command that works on the pool. */
export function answerFromPool<Given extends unknown[]>(
  command: Command,
  actions: CliActions,
  run: (admin: PoolAdmin, ...given: Given) => Shown | Promise<Shown>,
): void {
  answer<Given>(command, actions, async (...given) => {
    await using admin = await actions.openAdmin();
    return await run(admin, ...given);
  });
}

function formatJson(value: unknown): string {
  return `${plainJson(JSON.stringify(value, null, 2))}\n`;
}

const pageSize = 500;

/** Items of all pages, at most `limit`. `read` answers one page and where the next one begins; null after the last. */
export async function collectPages<Item, Place>(
  limit: number,
  read: (pageLimit: number, place: Place | undefined) => Promise<readonly [readonly Item[], Place | null]>,
): Promise<Item[]> {
  const items: Item[] = [];
  for (let place: Place | undefined; ; ) {
    const [more, next] = await read(Math.min(pageSize, limit - items.length), place);
    items.push(...more);
    if (next === null || items.length >= limit) return items;
    place = next;
  }
}
