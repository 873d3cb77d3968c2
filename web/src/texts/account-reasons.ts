import { texts } from '../text.ts';

const accountReasonsText = texts({
  en: {
    rate_limited: 'The provider limits its rate.',
    quota_left: 'A turn was refused for its quota, but some is left.',
    quota_check: 'A turn was refused for its quota; the provider is being asked.',
    quota_unknown: 'A turn was refused for its quota, and the provider did not say what is left.',
    quota_exhausted: 'Its quota is used up.',
    quota_unconfirmed: 'Turns were refused for its quota, and the provider does not say what is left.',
    quota_denied: 'The provider lets nothing in, whatever is left.',
    refused: 'The provider refused a turn (403).',
    upstream_failures: 'Several turns in a row failed.',
    token_pending: 'It has no access token yet.',
    token_expired: 'Its access token has expired.',
    token_rejected: 'The provider rejected its access token.',
    probe_unauthorized: 'The provider does not accept its credential (401).',
    probe_refused: 'The provider refuses the account (403).',
    api_key_rejected: 'The provider rejected its key in a turn (401).',
    invalid_grant: 'The provider no longer accepts its refresh token.',
    refresh_interrupted: 'A refresh was cut off, and the refresh token it may have brought is lost.',
    account_gone: 'The provider has closed the account.',
    refused_repeatedly: 'The provider refused several turns in a row (403).',
    owner: 'You disabled it.',
  },
  zh: {
    rate_limited: '提供商限制了请求速率。',
    quota_left: '有请求因额度被拒，但仍有剩余额度。',
    quota_check: '有请求因额度被拒，正在向提供商核实。',
    quota_unknown: '有请求因额度被拒，提供商未说明剩余额度。',
    quota_exhausted: '额度已用尽。',
    quota_unconfirmed: '多次因额度被拒，提供商未说明剩余额度。',
    quota_denied: '无论剩余多少，提供商都拒绝请求。',
    refused: '提供商拒绝了一次请求（403）。',
    upstream_failures: '连续多次请求失败。',
    token_pending: '还没有访问令牌。',
    token_expired: '访问令牌已过期。',
    token_rejected: '提供商拒绝了访问令牌。',
    probe_unauthorized: '提供商不接受该凭据（401）。',
    probe_refused: '提供商拒绝该账号（403）。',
    api_key_rejected: '请求中密钥被提供商拒绝（401）。',
    invalid_grant: '提供商不再接受该刷新令牌。',
    refresh_interrupted: '刷新过程中断，可能签发的新刷新令牌已丢失。',
    account_gone: '提供商已关闭该账号。',
    refused_repeatedly: '提供商连续多次拒绝请求（403）。',
    owner: '由你停用。',
  },
});

/** A `status_reason` in words; one that this page does not know is shown as it is. */
export function reasonText(reason: string | null): string | undefined {
  if (reason === null) return undefined;
  const known: Readonly<Record<string, unknown>> = accountReasonsText();
  const word = Object.hasOwn(known, reason) ? known[reason] : undefined;
  return typeof word === 'string' ? word : reason.replaceAll('_', ' ');
}
