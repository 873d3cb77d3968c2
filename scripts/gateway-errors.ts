import { AppError, type ErrorCode, errorCodes } from '../src/core/errors.ts';

/** What each code means to a client or its operator, and what helps. */
const meanings: Readonly<Record<ErrorCode, string>> = {
  invalid_request: 'the request asks for what cannot be, here or at the upstream; `param` names the field',
  context_too_long:
    'too long for the model, and no candidate has a larger window, or for what any account may send in a minute: shorten the conversation',
  previous_response_not_found: '`previous_response_id` names no response that is kept for this key',
  websocket_connection_limit_reached: 'the connection has lasted 60 minutes: open another one',
  invalid_key: 'no key, or none that the gateway knows',
  forbidden: 'the key is not for this model or call',
  operator_only: 'this needs `ADMIN_KEY`',
  host_not_allowed: 'a host name that the service does not know: `ALLOWED_HOSTS`, or keys',
  origin_not_allowed: 'a web page that is not listed in `CORS_ORIGINS`',
  model_not_found: 'no such model, or no account may use it; the message names near ones',
  not_found: 'no such path; the message says which base URL to set',
  method_not_allowed: 'the path takes another method',
  request_timeout: 'the body did not arrive in time',
  too_large: 'the body is larger than 32 MB, or the upstream takes no more',
  unsupported_media_type: 'an unknown compression or charset',
  idempotency_key_reused: 'another request came under this `Idempotency-Key`',
  turn_running_elsewhere: 'another gateway runs the turn of this `Idempotency-Key`: repeat it',
  turn_interrupted:
    'the gateway that ran the turn of this `Idempotency-Key` was killed; the turn is not run again',
  key_rate_limited:
    '[a limit of the key](keys.md#limits-and-budgets), or too many waiting turns of it: after `Retry-After`',
  key_quota_exhausted: '[a budget of the key](keys.md#limits-and-budgets) is used up',
  upstream_rate_limited: 'every account rests for a rate limit: after `Retry-After`',
  upstream_quota_exhausted: 'every account is out of quota: `account list` shows until when',
  upstream_refused:
    'the vendor refuses this to the account, and three in a row disable it; or to the country that requests come from, which ends no account',
  upstream_unauthorized: 'the vendor does not take the credential of the account: `account list` says which',
  upstream_unavailable: 'the upstream failed, or cannot be reached',
  upstream_timeout: 'the upstream was silent for too long',
  model_unavailable: 'the vendor’s model is overloaded: after `Retry-After`',
  upstream_protocol: 'an answer that cannot be read, or that broke off',
  no_account_available: 'no account is free; the message and `reason` of `/health` say why',
  pool_unavailable: '[the pool or its database is unreachable](operating.md#an-unreachable-database)',
  storage_unavailable: 'a database of the gateway is unreachable or full',
  overloaded: '[too much at a time](operating.md#more-turns-than-places): after `Retry-After`',
  shutting_down: 'the gateway is stopping: try again in a few seconds',
  cancelled: 'the client left',
  internal: 'a fault of the gateway; its log has the cause under the request id',
};

/** The table of errors in docs/gateway.md: what each dialect shows of a code. */
export function gatewayErrorTable(): string {
  const rows = errorCodes.map((code) => {
    const error = new AppError(code, '');
    const { status, anthropicStatus, googleStatus } = error;
    const shown = [
      `${status} \`${error.openaiCode ?? error.openaiType}\``,
      `${anthropicStatus} \`${error.anthropicType}\``,
      `${googleStatus} \`${error.googleWord}\``,
    ];
    // No client is there to read it.
    const cells = code === 'cancelled' ? shown.map(() => '-') : shown;
    return `| ${[`\`${code}\``, ...cells, meanings[code]].join(' | ')} |`;
  });
  return [
    '| in the log | OpenAI | Anthropic | Gemini | means |',
    '| --- | --- | --- | --- | --- |',
    ...rows,
  ].join('\n');
}
