import type { FastifyRequest } from 'fastify';
import { AppError, refused } from '../../core/errors.ts';
import { nearNames } from '../../core/near-names.ts';
import { givenFields, withoutNulls } from '../../core/null-fields.ts';
import {
  changedKey,
  type KeyUse,
  keyPageQuery,
  newKey,
  rotation,
  type ShownKey,
} from '../../core/shown-key.ts';
import { parseBody, parseFields } from '../../protocols/shared/request.ts';
import type { StoredKey } from '../keys/key-verbs.ts';
import * as answers from './api-answers.ts';
import type { GatewayHttp, GatewayRoute } from './gateway-http.ts';

const notFound = { description: 'There is no such key.', body: answers.errorAnswer };
const byIdOrName = 'The path takes its id or its name.';

/** Keys that the operator makes for clients. */
export const keyRoutes: readonly GatewayRoute[] = [
  {
    method: 'GET',
    path: '/api/keys',
    summary: 'The client keys, the newest first; no secrets',
    access: 'adminKey',
    query: keyPageQuery,
    answers: { 200: { description: 'One page.', body: answers.keyList } },
    async handle(service, request) {
      const { managedKeys: keys } = service;
      const { limit, before, revoked } = parseFields(keyPageQuery, givenFields(request.query));
      const page = await keys.page({ limit: limit + 1, before, withRevoked: revoked });
      const shown = page.slice(0, limit);
      const next = page.length > limit ? (shown.at(-1)?.number ?? null) : null;
      return { keys: await shownAll(service, shown), next_before: next };
    },
  },
  {
    method: 'POST',
    path: '/api/keys',
    summary: 'Make a key for a client',
    description:
      'The secret is in this answer alone: only its digest is stored. From the first key on every client needs one.',
    access: 'strictAdminKey',
    body: newKey,
    answers: { 201: { description: 'The key, with its secret.', body: answers.keyWithSecret } },
    async handle(service, request) {
      const { managedKeys: keys } = service;
      const { name, owner, limits, expires_at, ...given } = parseBody(
        newKey,
        withoutNulls(newKey, request.body),
        'name',
      );
      checkProviders(service, given.providers);
      const made = await keys.create({
        name,
        owner: owner ?? null,
        models: given.models ?? null,
        providers: given.providers ?? null,
        labels: given.labels ?? null,
        limits,
        expiresAt: expiryOf(expires_at, keys.now()) ?? null,
      });
      audit(service, request, 'made', made.key);
      return { key: await shownWithUse(service, made.key), secret: made.secret };
    },
  },
  {
    method: 'GET',
    path: '/api/keys/me',
    summary: 'The key that the request shows, for its holder',
    access: 'clientKey',
    answers: { 200: { description: 'The key.', body: answers.key }, 404: notFound },
    async handle(service, { client }) {
      if (client.managed) {
        return shownWithUse(service, await service.managedKeys.get(client.managed.keyId));
      }
      const message =
        'The key is none that the operator made for a client (one of API_KEYS, or any): there is nothing to show.';
      throw new AppError('not_found', message);
    },
  },
  {
    method: 'GET',
    path: '/api/keys/{id}',
    summary: 'One client key; no secret',
    description: byIdOrName,
    access: 'adminKey',
    answers: { 200: { description: 'The key.', body: answers.key }, 404: notFound },
    handle: async (service, { params }) => shownWithUse(service, await service.managedKeys.get(params.id)),
  },
  {
    method: 'PATCH',
    path: '/api/keys/{id}',
    summary: 'Change a client key',
    description: `${byIdOrName} What is left out stays. Every gateway of the same database goes by it within a second; turns that run end as they began.`,
    access: 'strictAdminKey',
    body: changedKey,
    answers: { 200: { description: 'The key.', body: answers.key }, 404: notFound },
    async handle(service, request) {
      const { managedKeys: keys } = service;
      const { expires_at, enabled, limits, ...change } = parseBody(
        changedKey,
        request.body,
        'what is to be changed',
      );
      checkProviders(service, change.providers);
      const { keyId } = await keys.get(request.params.id);
      const expiresAt = expiryOf(expires_at, keys.now());
      const changed = await keys.change(keyId, {
        ...change,
        ...(enabled !== undefined && { isEnabled: enabled }),
        ...(limits !== undefined && { limits }),
        ...(expiresAt !== undefined && { expiresAt }),
      });
      audit(service, request, 'changed', changed, Object.keys(request.body as object));
      return shownWithUse(service, changed);
    },
  },
  {
    method: 'POST',
    path: '/api/keys/{id}/rotate',
    summary: 'Give a client key another secret',
    description: `${byIdOrName} The secret it has stays good for "grace_seconds". All that was kept for the key stays its own.`,
    access: 'strictAdminKey',
    body: rotation,
    isBodyOptional: true,
    answers: {
      200: { description: 'The key, with its new secret.', body: answers.keyWithSecret },
      404: notFound,
    },
    async handle(service, request) {
      const { managedKeys: keys } = service;
      const { grace_seconds: grace } = parseBody(rotation, request.body ?? {}, 'grace_seconds');
      const { keyId } = await keys.get(request.params.id);
      const { key, secret } = await keys.rotate(keyId, grace * 1_000);
      audit(service, request, 'rotated', key);
      return { key: await shownWithUse(service, key), secret };
    },
  },
  {
    method: 'POST',
    path: '/api/keys/{id}/revoke',
    summary: 'End a client key for good, and the turns that run with it',
    description: `${byIdOrName} Within a second no gateway of the same database takes it.`,
    access: 'strictAdminKey',
    takesBody: false,
    answers: { 200: { description: 'The key.', body: answers.key }, 404: notFound },
    async handle(service, request) {
      const { managedKeys: keys } = service;
      const { keyId, revokedAt } = await keys.get(request.params.id);
      const key = revokedAt === null ? await keys.revoke(keyId) : await keys.get(keyId);
      if (revokedAt === null) audit(service, request, 'revoked', key);
      return shownWithUse(service, key);
    },
  },
];

function audit(
  { logger }: GatewayHttp,
  { id, ip }: FastifyRequest,
  what: 'made' | 'changed' | 'rotated' | 'revoked',
  { keyId, name }: StoredKey,
  fields?: readonly string[],
): void {
  logger.info(
    { request_id: id, from: ip, key_id: keyId, key_name: name, fields },
    `a client key was ${what}`,
  );
}

/** Throws AppError for a time that has passed. */
function expiryOf(given: string | null | undefined, now: number): number | null | undefined {
  if (given === null || given === undefined) return given;
  const at = Date.parse(given);
  if (at <= now) throw refused('expires_at', 'has passed: name a time to come, or disable the key');
  return at;
}

function checkProviders({ providerNames }: GatewayHttp, given: readonly string[] | null | undefined): void {
  for (const [at, name] of (given ?? []).entries()) {
    if (providerNames.includes(name)) continue;
    const [near] = nearNames(name, providerNames);
    const advice = near === undefined ? '' : `; did you mean "${near}"?`;
    throw refused(`providers.${at}`, `is no provider of this gateway${advice}`);
  }
}

async function shownAll(
  { managedKeys, limits }: GatewayHttp,
  keys: readonly StoredKey[],
): Promise<ShownKey[]> {
  const uses = await limits.uses(keys);
  return keys.map((key) => shownOf(key, uses.get(key.keyId) ?? [], managedKeys.now()));
}

async function shownWithUse(service: GatewayHttp, key: StoredKey): Promise<ShownKey | undefined> {
  const [shown] = await shownAll(service, [key]);
  return shown;
}

function shownOf(key: StoredKey, uses: readonly KeyUse[], now: number): ShownKey {
  return {
    id: key.keyId,
    name: key.name,
    owner: key.owner,
    prefix: key.prefix,
    state: stateOf(key, now),
    models: key.models && [...key.models],
    providers: key.providers && [...key.providers],
    labels: key.labels && [...key.labels],
    limits: { ...key.limits, budgets: [...key.limits.budgets] },
    uses: [...uses],
    expires_at: timeOf(key.expiresAt),
    created_at: new Date(key.createdAt).toISOString(),
    last_used_at: timeOf(key.lastUsedAt),
    former_secret_until: key.formerUntil !== null && key.formerUntil > now ? timeOf(key.formerUntil) : null,
    revoked_at: timeOf(key.revokedAt),
  };
}

function stateOf({ revokedAt, isEnabled, expiresAt }: StoredKey, now: number): ShownKey['state'] {
  if (revokedAt !== null) return 'revoked';
  if (!isEnabled) return 'disabled';
  return expiresAt !== null && expiresAt <= now ? 'expired' : 'active';
}

function timeOf(at: number | null): string | null {
  return at === null ? null : new Date(at).toISOString();
}
