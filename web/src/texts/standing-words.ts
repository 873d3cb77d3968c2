import { texts } from '../text.ts';

const standingText = texts({
  en: {
    open: 'free',
    held: 'held by the gateway',
    model: 'not for this model',
    label: 'other label',
    limit: 'limit used up',
    leased: 'in use',
    half_open: 'tried by one turn at a time',
    cooldown: 'resting',
    exhausted: 'out of quota',
    standby: 'in standby',
    disabled: 'disabled',
    reauth_required: 'new login needed',
    rate_limited: 'rate limited',
    free_quota_spent: 'free quota used up',
    excluded: 'left out by the caller',
    lend_gateway_only: 'lent to the gateway only',
    too_few_slots: 'has fewer places than asked for',
  },
  zh: {
    open: '空闲',
    held: '网关已持有',
    model: '不用于此模型',
    label: '标签不同',
    limit: '限额已用尽',
    leased: '使用中',
    half_open: '逐个请求试用中',
    cooldown: '冷却中',
    exhausted: '额度用尽',
    standby: '备用',
    disabled: '已停用',
    reauth_required: '需要重新登录',
    rate_limited: '被限速',
    free_quota_spent: '免费额度用尽',
    excluded: '调用方已排除',
    lend_gateway_only: '仅借给网关',
    too_few_slots: '名额少于所需',
  },
});

/** What is in the way of an account, in words; what this page does not know is shown as it is. */
export function standingWord(standing: string): string {
  const words: Readonly<Record<string, unknown>> = standingText();
  const word = Object.hasOwn(words, standing) ? words[standing] : undefined;
  return typeof word === 'string' ? word : standing.replaceAll('_', ' ');
}
