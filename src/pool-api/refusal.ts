import type { Account } from './schema.ts';

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

function saidIn(evidence: Account['status_evidence']): string | undefined {
  const answer = evidence?.['quota_query'];
  const isAnswer = typeof answer === 'object' && answer !== null && 'message' in answer;
  return isAnswer ? String(answer.message) : undefined;
}
