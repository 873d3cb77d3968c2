import { type LogFields, messageOf, type ReadableLine } from '../../lib/log/readable-log.ts';

/** The log line of a turn as a person reads it: how it ended, by which model, how long it took, whose account. */
export function turnText(fields: LogFields): ReadableLine {
  const { dialect, status, outcome, model, provider, upstream_model: upstream, stream } = fields;
  const { duration_ms: duration, first_content_ms: first, account_id: account, request_id: request } = fields;
  const usage = fields['usage'] as { inputTokens?: number; outputTokens?: number } | undefined;
  const { attempts, err } = fields;
  const answeredBy = upstream === undefined ? '' : ` -> ${provider}/${upstream}`;
  const parts = [
    `${dialect}${stream === true ? ' stream' : ''} ${status} ${model}${answeredBy}`,
    `${duration} ms${first === undefined ? '' : ` (first word ${first})`}`,
    ...(usage ? [`${usage.inputTokens} + ${usage.outputTokens} tokens`] : []),
    ...(outcome === 'success' ? [] : [err === undefined ? `${outcome}` : `${outcome}: ${messageOf(err)}`]),
  ];
  const isRetried = typeof attempts === 'number' && attempts > 1;
  return {
    text: parts.join(', '),
    rest: { ...(isRetried ? { attempts } : {}), account, request },
  };
}
