import { z } from 'zod';
import type { Account } from './account-schema.ts';

/**
 * How the accounts of each provider stand to one borrower: how many are `open`, or `open_for_models` (only for those their
 * owner has named), and what blocks the others, in the words of a refusal's `shortage`. An account that others
 * share with it counts as open; `leased` is one that another program has for itself.
 */
export const readiness = z.record(z.string(), z.record(z.string(), z.int()));
export type Readiness = Readonly<Record<string, Readonly<Record<string, number>>>>;

/** What blocks an account, from what takes a person to what passes without one, and what to do about it. */
const hindrances: Readonly<Record<string, readonly [one: string, several: string, advice: string]>> = {
  reauth_required: [
    'needs a new key or login',
    'need a new key or login',
    'give it with "warp2api account replace" or "warp2api account login"',
  ],
  disabled: ['is disabled', 'are disabled', '"warp2api account enable" puts it back'],
  lend_gateway_only: [
    'is lent only to gateways that the pool knows',
    'are lent only to gateways that the pool knows',
    'set the same GATEWAY_KEY for the pool and the gateway',
  ],
  useless_models: [
    'is limited to models that it does not have',
    'are limited to models that they do not have',
    '"warp2api account set --models" corrects that, "warp2api account show" says which they are',
  ],
  standby: ['is in standby', 'are in standby', '"warp2api account enable" puts it to use'],
  exhausted: ['has used up its quota', 'have used up their quota', 'wait for its reset, or add an account'],
  free_quota_spent: [
    'is on a free plan and stands still while another free account is out of quota',
    'are on a free plan and stand still while another free account is out of quota',
    'wait for its reset, or add a paid account',
  ],
  rate_limited: ['is rate limited', 'are rate limited', 'that passes in a moment'],
  cooldown: ['is resting', 'are resting', 'that ends without your doing'],
  leased: [
    'is lent to a program that has it for itself',
    'are lent to programs that have them for themselves',
    'wait until it comes back, or add an account',
  ],
};

/** Those that end without anyone doing something. */
const passing: ReadonlySet<string> = new Set(['rate_limited', 'cooldown', 'leased']);

/** What keeps the whole pool from its work. */
export const storeFaults = {
  unreachable: "The pool's database does not answer: check that it runs and that DATABASE_URL is right.",
  readOnly: "The pool's database takes no changes: make room on its disk, or put its file back.",
} as const;

const howToAdd = (provider: string): string => `"warp2api account add --provider ${provider} --api-key -"`;

/** Whether some account can serve; if not, why and what to do, in a sentence or two. */
export type Verdict =
  | { readonly isReady: true }
  | {
      readonly isReady: false;
      readonly reason: string;
      /** Some account will be open again without anyone doing something. */
      readonly isPassing: boolean;
    };

/** Whether the accounts of these providers can serve. `served: undefined` means all providers. */
export function judge(accounts: Readiness, served: readonly string[] | undefined): Verdict {
  const counts = sumOf(accounts, served);
  const { open = 0, open_for_models: openForModels = 0 } = counts;
  if (open + openForModels > 0) return { isReady: true };
  if (totalOf(counts) > 0) {
    const isPassing = Object.keys(counts).some((word) => passing.has(word));
    return { isReady: false, reason: hindranceSentence(counts), isPassing };
  }
  const others = Object.entries(accounts).filter(([, own]) => totalOf(own) > 0);
  if (served === undefined || others.length === 0) {
    return {
      isReady: false,
      reason: `There is no account in the pool: add one with ${howToAdd('warp')}.`,
      isPassing: false,
    };
  }
  const present = others.map(([provider, own]) => `${totalOf(own)} of ${provider}`).join(', ');
  const reason = `The gateway sends turns to ${listed(served)} only, and the pool has no account of ${served.length > 1 ? 'these' : 'it'} (but ${present}, for programs that borrow): add one with ${howToAdd('warp')}.`;
  return { isReady: false, reason, isPassing: false };
}

/** The same for turns that name their provider while those of other providers could be answered. */
export function judgeProvider(accounts: Readiness, provider: string): Verdict {
  if (totalOf(accounts[provider] ?? {}) > 0) return judge(accounts, [provider]);
  const reason = `The pool has no account of ${provider}: add one with ${howToAdd(provider)}, or name a model of another provider.`;
  return { isReady: false, reason, isPassing: false };
}

/** The same for the pool as a whole: it does its work with accounts that are lent, and with those it lends to gateways only. */
export function judgePool(accounts: Readiness): Verdict {
  const { leased = 0, lend_gateway_only: withheld = 0 } = sumOf(accounts, undefined);
  return leased + withheld > 0 ? { isReady: true } : judge(accounts, undefined);
}

/** "No account can answer: 2 need a new key or login (...)", from the words of a shortage. */
export function hindranceSentence(counts: Readonly<Record<string, number>>): string {
  const known = Object.entries(hindrances).flatMap(([word, [one, several, advice]]) => {
    const count = counts[word] ?? 0;
    return count === 0 ? [] : [`${count} ${count === 1 ? one : several} (${advice})`];
  });
  const rest = Object.entries(counts)
    .filter(([word, count]) => !(word in hindrances) && word !== 'open' && count > 0)
    .map(([word, count]) => `${count} ${word.replaceAll('_', ' ')}`);
  const all = [...known, ...rest].join(', ');
  return `No account can answer: ${all}. "warp2api account list" shows each with its reason.`;
}

function listed(names: readonly string[]): string {
  const others = names.length - 2;
  return others > 1 ? `${names.slice(0, 2).join(', ')} and ${others} other providers` : names.join(' and ');
}

function sumOf(accounts: Readiness, served: readonly string[] | undefined): Record<string, number> {
  const sums: Record<string, number> = {};
  for (const [provider, own] of Object.entries(accounts)) {
    if (served !== undefined && !served.includes(provider)) continue;
    for (const [word, count] of Object.entries(own)) sums[word] = (sums[word] ?? 0) + count;
  }
  return sums;
}

function totalOf(counts: Readonly<Record<string, number>>): number {
  return Object.values(counts).reduce((sum, count) => sum + count, 0);
}

const words: Readonly<Record<string, string>> = {
  probe_unauthorized: 'the provider does not accept its credential (401)',
  probe_refused: 'the provider refuses the account (403)',
  api_key_rejected: 'the provider rejected its key in a turn (401)',
  invalid_grant: 'the provider does not accept its refresh token any more',
  refresh_interrupted: 'a refresh was cut off, and the new refresh token it may have brought is lost',
  account_gone: 'the provider has closed the account',
  refused_repeatedly: 'the provider refused several turns in a row (403)',
  owner: 'its owner has disabled it',
};

/** Why an account is out of service until a person does something, in plain words; undefined for one that is not. */
export function refusalOf({
  status,
  status_reason: reason,
  status_evidence: evidence,
  refresh_failure: failure,
}: Pick<Account, 'status' | 'status_reason' | 'status_evidence' | 'refresh_failure'>): string | undefined {
  if (status !== 'reauth_required' && status !== 'disabled') return undefined;
  const known = words[reason ?? ''] ?? reason?.replaceAll('_', ' ') ?? 'the provider rejected it';
  const said = isPlain(reason) ? undefined : (saidIn(evidence) ?? failure?.message);
  return said === undefined ? known : `${known}: ${said.replace(/\.$/, '')}`;
}

/** Nothing that was said beside it would add to it. */
function isPlain(reason: string | null): boolean {
  return reason === 'owner' || reason === 'probe_unauthorized' || reason === 'api_key_rejected';
}

/** What the provider said when it was asked about the account. */
export function saidIn(evidence: Readonly<Account['status_evidence']>): string | undefined {
  const answer = evidence?.['quota_query'];
  const isAnswer = typeof answer === 'object' && answer !== null && 'message' in answer;
  return isAnswer ? String(answer.message) : undefined;
}
