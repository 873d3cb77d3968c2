import { docsRoutes } from '../lib/api-docs-routes.ts';
import type { ApiDescription, ApiRoute } from '../lib/api-document.ts';
import { frontRoute } from '../lib/front-page.ts';
import { version } from '../lib/version.ts';
import {
  accountAnswer,
  accountChange,
  accountDetailsAnswer,
  allocateAnswer,
  allocateRequest,
  auditAnswer,
  auditQuery,
  errorAnswer,
  exportRequest,
  healthAnswer,
  importAnswer,
  importRequest,
  listAnswer,
  listQuery,
  loginAnswer,
  newAccount,
  newLogin,
  refreshTokensAnswer,
  refreshTokensRequest,
  releaseAnswer,
  releaseRequest,
  removeAnswer,
  replenishAnswer,
  replenishRequest,
  reportAnswer,
  reportRequest,
  sessionsAnswer,
  sessionsQuery,
  statusAnswer,
} from '../pool-api/schema.ts';

/** Every call of the pool, as `/openapi.json` and `/docs` show it. A test holds it against the server's routes. */
const routes: readonly ApiRoute[] = [
  {
    method: 'GET',
    path: '/health',
    summary: 'Whether the pool is alive',
    access: 'open',
    answers: {
      200: { description: 'It is alive.', body: { name: 'HealthAnswer', schema: healthAnswer } },
    },
  },
  {
    method: 'GET',
    path: '/api/accounts/status',
    summary: 'Counts by state, sessions, and how long what is left lasts',
    access: 'adminKey',
    answers: { 200: { description: 'The status.', body: { name: 'StatusAnswer', schema: statusAnswer } } },
  },
  {
    method: 'POST',
    path: '/api/accounts/allocate',
    summary: 'Borrow accounts',
    description:
      'Ensures that the session holds as many live leases as asked for: those it has are returned with their present ' +
      'bearers, missing ones are added all or nothing. Too few free accounts are a 503 with counts per reason.',
    access: 'poolKey',
    body: { name: 'AllocateRequest', schema: allocateRequest },
    isBodyOptional: true,
    answers: {
      200: {
        description: 'The session holds them.',
        body: { name: 'AllocateAnswer', schema: allocateAnswer },
      },
      503: {
        description: 'Too few accounts are free; "shortage" counts why.',
        body: { name: 'ErrorAnswer', schema: errorAnswer },
      },
    },
  },
  {
    method: 'POST',
    path: '/api/accounts/release',
    summary: 'Give accounts back',
    access: 'poolKey',
    body: { name: 'ReleaseRequest', schema: releaseRequest },
    answers: { 200: { description: 'Given back.', body: { name: 'ReleaseAnswer', schema: releaseAnswer } } },
  },
  {
    method: 'POST',
    path: '/api/accounts/report',
    summary: 'Say what became of borrowed accounts',
    description: 'Renews the session. Repeating a report id is harmless.',
    access: 'poolKey',
    body: { name: 'ReportRequest', schema: reportRequest },
    answers: {
      200: {
        description: 'What each report did.',
        body: { name: 'ReportAnswer', schema: reportAnswer },
      },
    },
  },
  {
    method: 'POST',
    path: '/api/accounts/replenish',
    summary: 'Refill the pool from its sources now',
    access: 'adminKey',
    body: { name: 'ReplenishRequest', schema: replenishRequest },
    isBodyOptional: true,
    answers: {
      200: {
        description: 'What was added, and why not more.',
        body: { name: 'ReplenishAnswer', schema: replenishAnswer },
      },
    },
  },
  {
    method: 'POST',
    path: '/api/accounts/import',
    summary: 'Add many accounts you own',
    description:
      '`lines` is text of JSON objects, one a line, each a NewAccount; or `sealed` is what an export gave. Lines stand ' +
      'alone: a bad one keeps no other out, and importing the same again adds nothing. At most 16 MiB and 10,000 lines.',
    access: 'adminKey',
    body: { name: 'ImportRequest', schema: importRequest },
    answers: {
      200: { description: 'What became of each line.', body: { name: 'ImportAnswer', schema: importAnswer } },
    },
  },
  {
    method: 'POST',
    path: '/api/accounts/export',
    summary: 'Take accounts out with their credentials, sealed with a passphrase',
    description:
      'To move accounts, not to copy them: of two pools that have a refresh token only one can go on. Audited.',
    access: 'adminKey',
    body: { name: 'ExportRequest', schema: exportRequest },
    answers: { 200: { description: 'The sealed file.', contentType: 'text/plain' } },
  },
  {
    method: 'POST',
    path: '/api/accounts/refresh-tokens',
    summary: 'Refresh access tokens now',
    description: 'Within the hourly ceiling; "force" passes it, and is audited.',
    access: 'adminKey',
    body: { name: 'RefreshTokensRequest', schema: refreshTokensRequest },
    isBodyOptional: true,
    answers: {
      200: {
        description: 'What became of each account.',
        body: { name: 'RefreshTokensAnswer', schema: refreshTokensAnswer },
      },
    },
  },
  {
    method: 'GET',
    path: '/api/accounts',
    summary: 'List accounts',
    access: 'adminKey',
    query: listQuery,
    answers: { 200: { description: 'One page.', body: { name: 'ListAnswer', schema: listAnswer } } },
  },
  {
    method: 'POST',
    path: '/api/accounts',
    summary: 'Add an account you own',
    description:
      'The provider is asked about the credential first, for a few seconds. One that it refuses is kept as ' +
      '"reauth_required", or with "on_refusal": "reject" not taken: 422 "credential_refused", and the message says why. One ' +
      'that it could not be asked about is taken with "probe": "unproved" and asked about again.',
    access: 'adminKey',
    body: { name: 'NewAccount', schema: newAccount },
    answers: {
      201: { description: 'Added.', body: { name: 'AccountAnswer', schema: accountAnswer } },
      422: {
        description: 'Its provider refuses the credential, and the request said not to keep it then.',
        body: { name: 'ErrorAnswer', schema: errorAnswer },
      },
    },
  },
  {
    method: 'GET',
    path: '/api/accounts/{id}',
    summary: 'Show an account, whether it could be lent now, and why it was lately passed over',
    access: 'adminKey',
    answers: {
      200: {
        description: 'The account; never its credential.',
        body: { name: 'AccountDetailsAnswer', schema: accountDetailsAnswer },
      },
    },
  },
  {
    method: 'PATCH',
    path: '/api/accounts/{id}',
    summary: 'Change, enable or disable an account',
    description:
      'A new credential is tried as at POST /api/accounts. With "on_refusal": "reject" a refused API key does not replace ' +
      'the present one; a refused refresh token does, since it can be tried only in its place.',
    access: 'adminKey',
    body: { name: 'AccountChange', schema: accountChange },
    answers: { 200: { description: 'Changed.', body: { name: 'AccountAnswer', schema: accountAnswer } } },
  },
  {
    method: 'DELETE',
    path: '/api/accounts/{id}',
    summary: 'Forget an account and its credential',
    access: 'adminKey',
    answers: { 200: { description: 'Removed.', body: { name: 'RemoveAnswer', schema: removeAnswer } } },
  },
  {
    method: 'POST',
    path: '/api/logins',
    summary: 'Begin a login that a person approves in a browser',
    description:
      'Show the person the address and the code. The pool waits for the approval by itself and adds the account, or ' +
      'with "account_id" replaces its credential.',
    access: 'adminKey',
    body: { name: 'NewLogin', schema: newLogin },
    answers: { 201: { description: 'Begun.', body: { name: 'LoginAnswer', schema: loginAnswer } } },
  },
  {
    method: 'GET',
    path: '/api/logins/{id}',
    summary: 'How a login stands',
    description: 'Finished logins are forgotten after a day.',
    access: 'adminKey',
    answers: { 200: { description: 'The login.', body: { name: 'LoginAnswer', schema: loginAnswer } } },
  },
  {
    method: 'GET',
    path: '/api/sessions',
    summary: 'List the sessions and the accounts they hold',
    description:
      'Who holds what, and until when. `POST /api/accounts/release` with ADMIN_KEY ends any of them.',
    access: 'adminKey',
    query: sessionsQuery,
    answers: { 200: { description: 'One page.', body: { name: 'SessionsAnswer', schema: sessionsAnswer } } },
  },
  {
    method: 'GET',
    path: '/api/audit',
    summary: 'Who changed what, the newest first',
    access: 'adminKey',
    query: auditQuery,
    answers: { 200: { description: 'One page.', body: { name: 'AuditAnswer', schema: auditAnswer } } },
  },
  {
    method: 'GET',
    path: '/api/events',
    summary: 'Changes of accounts as server-sent events',
    description: 'Each event is a JSON object; `Last-Event-ID` resumes after it, as long as it is known.',
    access: 'poolKey',
    answers: {
      200: { description: 'The events, until the reader leaves.', contentType: 'text/event-stream' },
    },
  },
  {
    method: 'GET',
    path: '/metrics',
    summary: 'Figures for Prometheus',
    access: 'adminKey',
    answers: { 200: { description: 'The text exposition format.', contentType: 'text/plain' } },
  },
  frontRoute('/'),
  ...docsRoutes,
];

export const poolApi: ApiDescription = {
  title: 'Warp2API account pool',
  version,
  description:
    'Keeps the accounts you own and lends them to sessions. Times are ISO 8601 in UTC; unknown fields are refused, ' +
    'and null is as good as leaving a field out, except where PATCH clears a setting with it. ' +
    'Where no ADMIN_KEY is set, calls from this machine need no key.',
  keys: {
    adminKey: 'ADMIN_KEY',
    poolKey:
      'POOL_API_KEY (may only borrow, return and report), GATEWAY_KEY (the same for gateways, who are also lent the ' +
      'accounts that are for gateways only, and whose reports are believed), or ADMIN_KEY',
  },
  routes,
  error: { name: 'ErrorAnswer', schema: errorAnswer },
};
