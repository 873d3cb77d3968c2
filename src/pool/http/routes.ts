import { Readable } from 'node:stream';
import { type ServiceFacts, shownSettings } from '../../core/shown-settings.ts';
import { adminRoutes } from '../../lib/api/admin-page.ts';
import { type Route, withDocs } from '../../lib/api/api-routes.ts';
import type { EventStreams } from '../../lib/api/event-streams.ts';
import { commonLinks, frontRoute } from '../../lib/api/front-page.ts';
import { metricsType } from '../../lib/api/metrics.ts';
import {
  type SessionService,
  sessionAnswer,
  sessionKey,
  sessionRoutes,
} from '../../lib/api/session-routes.ts';
import { shownKeys } from '../../lib/http/callers.ts';
import type { DiskHealth } from '../../lib/log/disk-health.ts';
import { version } from '../../lib/version.ts';
import * as accounts from '../../pool-api/account-schema.ts';
import * as owner from '../../pool-api/owner-schema.ts';
import * as schema from '../../pool-api/schema.ts';
import type { PoolService } from '../create-pool.ts';
import { allocate, presentHealth } from './answers.ts';
import { callerNamed, type Identify } from './keys.ts';

interface PoolHttp extends SessionService {
  readonly pool: PoolService;
  readonly identify: Identify;
  readonly streams: EventStreams;
  disks(): DiskHealth;
  facts(): Promise<ServiceFacts>;
  /** Where the gateway answers, if that is known, by the address a client has for the pool. */
  gatewayAddress(poolAddress: string): string | undefined;
}

/** A thousand models of an account, or a thousand accounts to leave out. */
const listLimit = { bodyLimit: 512 * 1024 };
const smallLimit = { bodyLimit: 16 * 1024 };
/** A sealed export of some ten thousand accounts. */
const importLimit = { bodyLimit: 16 * 1024 * 1024 };
const programDocs = 'docs/pool.md, beside this program';

const title = 'Warp2API account pool';
const description =
  'Keeps the accounts you own and lends them to sessions. Times are ISO 8601 in UTC; unknown fields are refused, ' +
  'and null is as good as leaving a field out, except where PATCH clears a setting with it. ' +
  'Where no ADMIN_KEY is set, calls from this machine need no key.';

const routes: readonly Route<PoolHttp>[] = [
  ...sessionRoutes<PoolHttp>('pool'),
  ...adminRoutes<PoolHttp>(),
  {
    method: 'GET',
    path: '/health',
    summary: 'Whether the pool is alive',
    access: 'open',
    answers: { 200: { description: 'It is alive.', body: schema.healthAnswer } },
    async handle({ pool, identify, disks }, { headers, url }) {
      const caller = callerNamed(identify, shownKeys(headers, url));
      return presentHealth(await pool.health(caller === 'gateway'), disks(), caller, pool.version);
    },
  },
  {
    method: 'GET',
    path: '/api/settings',
    summary: 'Every setting with its value and where that comes from; no secrets',
    access: 'adminKey',
    answers: { 200: { description: 'The settings.', body: shownSettings } },
    async handle({ pool, facts }) {
      const { isReachable, isReadOnly } = await pool.health();
      const { kind } = pool;
      const store = { name: 'accounts', kind, reachable: isReachable, writable: isReadOnly !== true };
      return { service: 'pool', stores: [store], ...(await facts()) };
    },
  },
  {
    method: 'GET',
    path: '/api/accounts/status',
    summary: 'Counts by state, sessions, and how long what is left lasts',
    access: 'adminKey',
    answers: { 200: { description: 'The status.', body: owner.statusAnswer } },
    handle: ({ pool }) => pool.status(),
  },
  {
    method: 'POST',
    path: '/api/accounts/allocate',
    summary: 'Borrow accounts',
    description:
      'Ensures that the session holds as many live leases as asked for: those it has are returned with their present ' +
      'bearers, missing ones are added all or nothing. Too few free accounts are a 503 with counts per reason.',
    access: 'poolKey',
    body: schema.allocateRequest,
    isBodyOptional: true,
    ...listLimit,
    answers: {
      200: { description: 'The session holds them.', body: schema.allocateAnswer },
      503: { description: 'Too few accounts are free; "shortage" counts why.', body: schema.errorAnswer },
    },
    handle: allocate,
  },
  {
    method: 'POST',
    path: '/api/accounts/eligible',
    summary: 'Which accounts would do, without borrowing one',
    access: 'poolKey',
    body: schema.eligibleRequest,
    ...smallLimit,
    answers: { 200: { description: 'How the accounts stand to the demand.', body: schema.eligibleAnswer } },
    handle: ({ pool }, { keyHolder, body }) => pool.eligible(keyHolder, body),
  },
  {
    method: 'POST',
    path: '/api/accounts/release',
    summary: 'Give accounts back',
    access: 'poolKey',
    body: schema.releaseRequest,
    answers: { 200: { description: 'Given back.', body: schema.releaseAnswer } },
    handle: ({ pool }, { keyHolder, body }) => pool.release(keyHolder, body),
  },
  {
    method: 'POST',
    path: '/api/accounts/report',
    summary: 'Say what became of borrowed accounts',
    description: 'Renews the session. Repeating a report id is harmless.',
    access: 'poolKey',
    body: schema.reportRequest,
    answers: { 200: { description: 'What each report did.', body: schema.reportAnswer } },
    handle: ({ pool }, { keyHolder, body }) => pool.report(keyHolder, body),
  },
  {
    method: 'POST',
    path: '/api/accounts/replenish',
    summary: 'Refill the pool from its sources now',
    access: 'adminKey',
    body: owner.replenishRequest,
    isBodyOptional: true,
    ...smallLimit,
    answers: { 200: { description: 'What was added, and why not more.', body: owner.replenishAnswer } },
    handle: ({ pool }, { keyHolder, body }) => pool.replenish(keyHolder, body),
  },
  {
    method: 'POST',
    path: '/api/accounts/import',
    summary: 'Add many accounts you own',
    description:
      '`lines` is text of JSON objects, one a line, each a NewAccount; or `sealed` is what an export gave. Lines stand ' +
      'alone: a bad one keeps no other out, and importing the same again adds nothing. At most 16 MiB and 10,000 lines.',
    access: 'adminKey',
    body: accounts.importRequest,
    ...importLimit,
    answers: { 200: { description: 'What became of each line.', body: accounts.importAnswer } },
    handle: ({ pool }, { keyHolder, body }) => pool.importAccounts(keyHolder, body),
  },
  {
    method: 'POST',
    path: '/api/accounts/export',
    summary: 'Take accounts out with their credentials, sealed with a passphrase',
    description:
      'To move accounts, not to copy them: of two pools that have a refresh token only one can go on. Audited.',
    access: 'adminKey',
    body: accounts.exportRequest,
    ...smallLimit,
    answers: { 200: { description: 'The sealed file.', contentType: 'text/plain' } },
    async handle({ pool }, { keyHolder, body }, reply) {
      const sealed = await pool.exportAccounts(keyHolder, body);
      return reply
        .type('text/plain; charset=utf-8')
        .header('cache-control', 'no-store')
        .send(Readable.from(sealed));
    },
  },
  {
    method: 'POST',
    path: '/api/accounts/refresh-tokens',
    summary: 'Refresh access tokens now',
    description: 'Within the hourly ceiling; "force" passes it, and is audited.',
    access: 'adminKey',
    body: owner.refreshTokensRequest,
    isBodyOptional: true,
    ...smallLimit,
    answers: { 200: { description: 'What became of each account.', body: owner.refreshTokensAnswer } },
    handle: ({ pool }, { keyHolder, body }) => pool.refreshTokens(keyHolder, body),
  },
  {
    method: 'GET',
    path: '/api/accounts',
    summary: 'List accounts',
    access: 'adminKey',
    query: accounts.listQuery,
    answers: { 200: { description: 'One page.', body: accounts.listAnswer } },
    handle: ({ pool }, { query }) => pool.list(query),
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
    body: accounts.newAccount,
    ...listLimit,
    answers: {
      201: { description: 'Added.', body: accounts.accountAnswer },
      422: {
        description: 'Its provider refuses the credential, and the request said not to keep it then.',
        body: schema.errorAnswer,
      },
    },
    handle: ({ pool }, { keyHolder, body }) => pool.add(keyHolder, body),
  },
  {
    method: 'GET',
    path: '/api/accounts/providers',
    summary: 'List the providers, and what their accounts can be added with',
    access: 'adminKey',
    answers: { 200: { description: 'By name.', body: owner.providersAnswer } },
    handle: ({ pool }) => pool.providers(),
  },
  {
    method: 'POST',
    path: '/api/accounts/bulk',
    summary: 'Do the same to many accounts',
    description:
      'Each account stands alone and has a result of its own; repeating the call is harmless. "enable" skips accounts in ' +
      'service, "check" those that were asked about within 10 seconds, "refresh" those refreshed within the hour.',
    access: 'adminKey',
    body: owner.bulkRequest,
    ...listLimit,
    answers: { 200: { description: 'What became of each account.', body: owner.bulkAnswer } },
    handle: ({ pool }, { keyHolder, body }) => pool.changeMany(keyHolder, body),
  },
  {
    method: 'GET',
    path: '/api/accounts/{id}',
    summary: 'Show an account, whether it could be lent now, and why it was lately passed over',
    access: 'adminKey',
    answers: {
      200: { description: 'The account; never its credential.', body: accounts.accountDetailsAnswer },
    },
    handle: ({ pool }, { params }) => pool.get(params.id),
  },
  {
    method: 'PATCH',
    path: '/api/accounts/{id}',
    summary: 'Change, enable or disable an account',
    description:
      'A new credential is tried as at POST /api/accounts. With "on_refusal": "reject" a refused API key does not replace ' +
      'the present one; a refused refresh token does, since it can be tried only in its place.',
    access: 'adminKey',
    body: accounts.accountChange,
    ...listLimit,
    answers: { 200: { description: 'Changed.', body: accounts.accountAnswer } },
    handle: ({ pool }, { keyHolder, params, body }) => pool.change(keyHolder, params.id, body),
  },
  {
    method: 'DELETE',
    path: '/api/accounts/{id}',
    summary: 'Forget an account and its credential',
    access: 'adminKey',
    answers: { 200: { description: 'Removed.', body: accounts.removeAnswer } },
    handle: ({ pool }, { keyHolder, params }) => pool.remove(keyHolder, params.id),
  },
  {
    method: 'POST',
    path: '/api/logins',
    summary: 'Begin a login that a person approves in a browser',
    description:
      'Show the person the address and the code. The pool waits for the approval by itself and adds the account, or ' +
      'with "account_id" replaces its credential.',
    access: 'adminKey',
    body: accounts.newLogin,
    ...listLimit,
    answers: { 201: { description: 'Begun.', body: accounts.loginAnswer } },
    handle: ({ pool }, { keyHolder, body }) => pool.startLogin(keyHolder, body),
  },
  {
    method: 'GET',
    path: '/api/logins/{id}',
    summary: 'How a login stands',
    description: 'Finished logins are forgotten after a day.',
    access: 'adminKey',
    answers: { 200: { description: 'The login.', body: accounts.loginAnswer } },
    handle: ({ pool }, { params }) => pool.getLogin(params.id),
  },
  {
    method: 'GET',
    path: '/api/logins',
    summary: 'List the logins of the last day',
    access: 'adminKey',
    answers: { 200: { description: 'The latest to expire first.', body: accounts.loginsAnswer } },
    handle: ({ pool }) => pool.listLogins(),
  },
  {
    method: 'DELETE',
    path: '/api/logins/{id}',
    summary: 'Cancel a login',
    description: 'Then it is "failed". One that has been approved or has ended stays as it is.',
    access: 'adminKey',
    answers: { 200: { description: 'How it stands now.', body: accounts.loginAnswer } },
    handle: ({ pool }, { keyHolder, params }) => pool.cancelLogin(keyHolder, params.id),
  },
  {
    method: 'GET',
    path: '/api/sessions',
    summary: 'List the sessions and the accounts they hold',
    description:
      'Who holds what, and until when. `POST /api/accounts/release` with ADMIN_KEY ends any of them.',
    access: 'adminKey',
    query: owner.sessionsQuery,
    answers: { 200: { description: 'One page.', body: owner.sessionsAnswer } },
    handle: ({ pool }, { query }) => pool.listSessions(query),
  },
  {
    method: 'GET',
    path: '/api/audit',
    summary: 'Who changed what, the newest first',
    access: 'adminKey',
    query: owner.auditQuery,
    answers: { 200: { description: 'One page.', body: owner.auditAnswer } },
    handle: ({ pool }, { query }) => pool.trail(query),
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
    handle: ({ streams }, request, reply) => streams.open(request, reply, request.keyHolder.keyId),
  },
  {
    method: 'GET',
    path: '/metrics',
    summary: 'Figures for Prometheus',
    access: 'adminKey',
    answers: { 200: { description: 'The text exposition format.', contentType: 'text/plain' } },
    handle: async ({ pool, disks }, _request, reply) =>
      reply.type(metricsType).send(await pool.metrics(disks().disk.low)),
  },
  frontRoute('/', {
    title,
    description,
    links({ gatewayAddress }, address) {
      const gateway = gatewayAddress(address);
      return {
        status: {
          place: '/api/accounts/status',
          says: 'the accounts in numbers; needs the admin key where one is set',
        },
        ...commonLinks,
        programs: { place: programDocs, says: 'how programs borrow accounts' },
        ...(gateway && {
          gateway: { place: gateway, says: 'the gateway, which answers OpenAI and Anthropic clients' },
        }),
      };
    },
  }),
];

export const poolApi = withDocs<PoolHttp>({
  title,
  version,
  description,
  keys: {
    adminKey: 'ADMIN_KEY',
    poolKey:
      'POOL_API_KEY (may only borrow, return and report), GATEWAY_KEY (the same for gateways, who are also lent the ' +
      'accounts that are for gateways only, and whose reports are believed), or ADMIN_KEY',
  },
  routes,
  error: schema.errorAnswer,
  schemas: {
    ...schema,
    ...accounts,
    ...owner,
    sessionKey,
    sessionAnswer,
    settings: shownSettings,
  },
});
