// Two vendors' APIs by which an owner's admin key makes and deletes API keys, from their documentation:
// OpenRouter's management keys, OpenAI's service accounts of a project.
import { randomBytes } from 'node:crypto';
import type { Answer } from './token-faults.ts';

export interface SandboxKey {
  readonly vendor: 'openrouter' | 'openai';
  /** What the vendor deletes it by. */
  readonly handle: string;
  readonly name: string;
  readonly key: string;
  /** OpenRouter's, in US dollars. */
  readonly limit: number | null;
  readonly limitReset: string | null;
  /** OpenAI's. */
  readonly project: string | null;
  deleted: boolean;
}

/** The calls, as the README and the tests name them. */
export const keyCalls = [
  'POST /api/v1/keys',
  'GET /api/v1/keys',
  'DELETE /api/v1/keys/{hash}',
  'GET /api/v1/key',
  'POST /v1/organization/projects/{project}/service_accounts',
  'GET /v1/organization/projects/{project}/service_accounts',
  'DELETE /v1/organization/projects/{project}/service_accounts/{id}',
  'GET /v1/models',
] as const;

export interface KeyCall {
  /** As in `keyCalls`; what ordered failures name. */
  readonly call: (typeof keyCalls)[number];
  /** Does what is asked. */
  execute(): Answer;
}

export interface KeyManagement {
  /** Every key ever made, also those that were deleted. */
  readonly keys: readonly SandboxKey[];
  /** The only admin key that opens these calls. */
  readonly adminKey: string;
  /** Undefined for a path of somebody else's. */
  read(method: string, url: URL, bearer: string, text: string): KeyCall | undefined;
}

const adminKey = 'sandbox-admin-key';
/** OpenRouter documents pages of 100. */
const pageSize = 100;
const projects = /^\/v1\/organization\/projects\/([^/]+)\/service_accounts(?:\/([^/]+))?$/;
const unauthorized: Answer = {
  status: 401,
  body: { error: { message: 'No auth credentials found', code: 401 } },
};

export function createKeyManagement(): KeyManagement {
  const keys: SandboxKey[] = [];
  const live = (vendor: SandboxKey['vendor'], project: string | null = null): SandboxKey[] =>
    keys.filter((key) => key.vendor === vendor && key.project === project && !key.deleted);
  const owned = (bearer: string, vendor: SandboxKey['vendor']): SandboxKey | undefined =>
    keys.find((key) => key.vendor === vendor && key.key === bearer && !key.deleted);

  const make = (
    vendor: SandboxKey['vendor'],
    body: Record<string, unknown>,
    project: string | null,
  ): SandboxKey => {
    const key: SandboxKey = {
      vendor,
      handle:
        vendor === 'openrouter'
          ? randomBytes(32).toString('hex')
          : `svc_acct_${randomBytes(8).toString('hex')}`,
      name: String(body['name']),
      key: `${vendor === 'openrouter' ? 'sk-or-v1-' : 'sk-svcacct-'}${randomBytes(24).toString('hex')}`,
      limit: typeof body['limit'] === 'number' ? body['limit'] : null,
      limitReset: typeof body['limit_reset'] === 'string' ? body['limit_reset'] : null,
      project,
      deleted: false,
    };
    keys.push(key);
    return key;
  };

  const remove = (found: SandboxKey | undefined, body: unknown): Answer => {
    if (found === undefined) return { status: 404, body: { error: { message: 'not found', code: 404 } } };
    found.deleted = true;
    return { status: 200, body };
  };

  const openrouter = (method: string, url: URL, bearer: string, text: string): KeyCall | undefined => {
    const { pathname } = url;
    if (method === 'GET' && pathname === '/api/v1/key') {
      return {
        call: 'GET /api/v1/key',
        execute() {
          const key = owned(bearer, 'openrouter');
          if (key === undefined) return unauthorized;
          return {
            status: 200,
            body: { data: { label: key.name, usage: 0, limit: key.limit, limit_remaining: key.limit } },
          };
        },
      };
    }
    if (pathname === '/api/v1/keys' && method === 'POST') {
      return guarded('POST /api/v1/keys', bearer, () => {
        const body = objectIn(text);
        if (typeof body?.['name'] !== 'string') return invalid('name is required');
        const key = make('openrouter', body, null);
        return { status: 201, body: { data: openrouterView(key), key: key.key } };
      });
    }
    if (pathname === '/api/v1/keys' && method === 'GET') {
      return guarded('GET /api/v1/keys', bearer, () => {
        const offset = Number(url.searchParams.get('offset') ?? 0);
        return {
          status: 200,
          body: {
            data: live('openrouter')
              .slice(offset, offset + pageSize)
              .map(openrouterView),
          },
        };
      });
    }
    const hash = /^\/api\/v1\/keys\/([^/]+)$/.exec(pathname)?.[1];
    if (hash === undefined || method !== 'DELETE') return undefined;
    return guarded('DELETE /api/v1/keys/{hash}', bearer, () =>
      remove(
        live('openrouter').find((key) => key.handle === hash),
        { deleted: true },
      ),
    );
  };

  const openai = (method: string, url: URL, bearer: string, text: string): KeyCall | undefined => {
    if (method === 'GET' && url.pathname === '/v1/models') {
      return {
        call: 'GET /v1/models',
        execute: () =>
          owned(bearer, 'openai') === undefined
            ? unauthorized
            : { status: 200, body: { object: 'list', data: [] } },
      };
    }
    const [, project, id] = projects.exec(url.pathname) ?? [];
    if (project === undefined) return undefined;
    const path = '/v1/organization/projects/{project}/service_accounts' as const;
    if (id !== undefined) {
      if (method !== 'DELETE') return undefined;
      const deleted = { object: 'organization.project.service_account.deleted', id, deleted: true };
      return guarded(`DELETE ${path}/{id}`, bearer, () =>
        remove(
          live('openai', project).find((key) => key.handle === id),
          deleted,
        ),
      );
    }
    if (method === 'POST') {
      return guarded(`POST ${path}`, bearer, () => {
        const body = objectIn(text);
        if (typeof body?.['name'] !== 'string') return invalid('name is required');
        const key = make('openai', body, project);
        const { handle, name, key: value } = key;
        const created_at = Math.floor(Date.now() / 1000);
        const object = 'organization.project.service_account.api_key';
        const api_key = { object, id: `key_${handle}`, name: 'Secret Key', created_at, value };
        return { status: 200, body: { ...openaiView(key), name, created_at, api_key } };
      });
    }
    if (method !== 'GET') return undefined;
    return guarded(`GET ${path}`, bearer, () => {
      const all = live('openai', project);
      const limit = Number(url.searchParams.get('limit') ?? 20);
      const after = url.searchParams.get('after');
      const start = after === null ? 0 : all.findIndex((key) => key.handle === after) + 1;
      const page = all.slice(start, start + limit);
      const data = page.map(openaiView);
      return { status: 200, body: { object: 'list', data, has_more: start + limit < all.length } };
    });
  };

  return {
    keys,
    adminKey,
    read: (method, url, bearer, text) =>
      openrouter(method, url, bearer, text) ?? openai(method, url, bearer, text),
  };
}

function guarded(call: KeyCall['call'], bearer: string, execute: () => Answer): KeyCall {
  return { call, execute: () => (bearer === adminKey ? execute() : unauthorized) };
}

function openrouterView({ handle, name, limit, limitReset }: SandboxKey): Record<string, unknown> {
  return {
    hash: handle,
    name,
    label: name,
    disabled: false,
    limit,
    limit_remaining: limit,
    limit_reset: limitReset,
    usage: 0,
  };
}

function openaiView({ handle, name }: SandboxKey): Record<string, unknown> {
  return { object: 'organization.project.service_account', id: handle, name, role: 'member' };
}

function objectIn(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

function invalid(message: string): Answer {
  return { status: 400, body: { error: { message, code: 400 } } };
}
