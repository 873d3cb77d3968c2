import { type PoolErrorCode, poolErrorCodes } from '../src/pool-api/errors.ts';

/** What each code means to a caller and what helps. */
const meanings: Readonly<Record<PoolErrorCode, string>> = {
  invalid_request: 'a field has a value the pool cannot take; `param` names it',
  unknown_field: 'the pool does not know a field of the request; `param` names it',
  invalid_json: 'the body is not JSON',
  invalid_key: 'a key is needed, or the one given is none of the pool',
  forbidden: 'the key may not do this',
  host_not_allowed:
    'without ADMIN_KEY the pool answers to its own names only: add the one asked for to ALLOWED_HOSTS',
  origin_not_allowed: 'without ADMIN_KEY the pool refuses requests of web pages',
  not_found: 'there is no such path',
  session_not_found:
    'the session was released, has expired, or is another key’s; who released it may take this as done',
  account_not_found: 'there is no such account, or the session does not hold it',
  login_not_found: 'there is no such login, or it was forgotten after a day',
  method_not_allowed: 'the path takes another method',
  session_mismatch: 'the session is of another key, provider or exclusiveness: use another session id',
  account_exists: 'the pool has this credential already',
  too_large: 'the body is too large',
  unsupported_media_type:
    'the body is compressed with something else than zstd, gzip, deflate or br, or in an unknown charset',
  credential_refused:
    'the provider refuses the credential, and `"on_refusal": "reject"` asked not to keep it then; the message says why',
  too_many_logins: 'too many logins wait for a person already',
  too_many_attempts: 'too many wrong keys were tried at the admin page: try again after `Retry-After`',
  internal: 'a fault of the pool’s own; its log has the cause',
  provider_unavailable: 'the vendor cannot be reached or did not understand',
  no_account_available:
    'too few accounts are free; `shortage` counts why: try again after `Retry-After`, or give `wait_ms`',
  overloaded:
    'the pool holds as many large requests as `BODIES_MAX_MB` lets it, or 500 programs follow the events with this key: try again after `Retry-After`',
  pool_unavailable: 'the pool cannot be reached, or cannot reach its database; clients say so themselves',
  shutting_down: 'the pool is stopping: try again in a few seconds',
};

/** The error table of docs/pool.md. */
export function poolErrorTable(): string {
  const codes = Object.entries(poolErrorCodes) as [PoolErrorCode, number][];
  const rows = codes.map(([code, status]) => `| ${status} | \`${code}\` | ${meanings[code]} |`);
  return ['| status | code | meaning |', '| --- | --- | --- |', ...rows].join('\n');
}
