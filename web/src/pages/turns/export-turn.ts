import type { ShownTurn } from '../../../../src/core/shown-turn.ts';

/**
 * A turn as it can be shown to others: accounts and keys get numbers for names, also inside of sentences, and what was said is
 * left out.
 */
export function exportedTurn(turn: ShownTurn & { readonly content?: unknown }): Record<string, unknown> {
  const names = new Map<string, string>();
  const note = (id: string | null | undefined, what: string): void => {
    if (!id || names.has(id)) return;
    names.set(id, `${what}-${[...names.values()].filter((name) => name.startsWith(what)).length + 1}`);
  };
  for (const { account_id } of turn.attempts) note(account_id, 'account');
  for (const { skipped } of turn.candidates)
    for (const { account_id } of skipped) note(account_id, 'account');
  const { content: _content, ...shown } = turn;
  note(turn.client_key, 'key');
  note(turn.key_name, 'key');
  // The longest first: sentences have the beginnings of ids.
  const written = [...names].flatMap(([id, name]) => [
    [id, name] as const,
    ...(id.length > 12 ? [[id.slice(0, 12), name] as const] : []),
  ]);
  written.sort(([one], [other]) => other.length - one.length);
  return JSON.parse(JSON.stringify(shown), (_field, value: unknown) =>
    typeof value === 'string' ? withoutNames(value, written) : value,
  ) as Record<string, unknown>;
}

const email = /[\w.+-]+@[\w-]+(?:\.[\w-]+)+/g;
/** Accounts that a sentence alone names. */
const accountId = /\bacc_[0-9a-f-]{8,}/g;

function withoutNames(text: string, names: readonly (readonly [string, string])[]): string {
  const named = names.reduce((shown, [id, name]) => shown.replaceAll(id, name), text);
  return named.replace(accountId, 'account').replace(email, 'address');
}
