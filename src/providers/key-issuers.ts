import { z } from 'zod';
import { AppError } from '../core/errors.ts';
import { upToFirstProblem } from '../core/first-problem-only.ts';
import type { KeyIssuer, ProviderHttp } from '../core/provider.ts';
import { parseJson } from '../lib/parse-json.ts';
import { beginningOf } from '../lib/shown-text.ts';
import { answeredOnTheWay, readFailedAnswer } from '../protocols/shared/failed-answer.ts';
import { statusError } from './ask-json.ts';

interface KeyApiAccess {
  /** The owner's key for managing keys; it opens nothing else. */
  readonly adminKey: string;
  /** Scheme and host; no trailing slash. */
  readonly baseUrl: string;
}

type OurHttp = { readonly http: ProviderHttp; readonly userAgent: string };

/** A key-management API: keys are made and listed at `path`, and one is below it by its handle. */
interface KeyApi {
  readonly path: string;
  /** Beside the name of a new key. */
  readonly body: Readonly<Record<string, unknown>>;
  readonly issued: z.ZodType<{ readonly apiKey: string; readonly handle: string }>;
  readonly page: z.ZodType<{
    readonly keys: readonly { readonly handle: string; readonly name?: string | null | undefined }[];
    readonly isLast: boolean;
  }>;
  /** The query for the page after so many keys, the last of which is given. */
  readonly pageQuery: (seen: number, last: string | undefined) => string;
  /** For a path that is not there. */
  readonly notThere: string;
}

const timeoutMs = 8_000;
const mostPages = 100;

function createKeyIssuer(api: KeyApi, access: KeyApiAccess & OurHttp): KeyIssuer {
  const one = (handle: string): string => `${api.path}/${encodeURIComponent(handle)}`;
  return {
    async issue(name, signal) {
      const body = { name, ...api.body };
      const made = await callKeyApi(access, 'POST', api.path, api.issued, { body, signal });
      if (made === null) throw new AppError('invalid_request', api.notThere);
      return made;
    },
    async revoke(handle) {
      await callKeyApi(access, 'DELETE', one(handle), z.unknown());
    },
    async find(name) {
      let seen = 0;
      let last: string | undefined;
      for (let pages = 0; pages < mostPages; pages += 1) {
        const path = `${api.path}?${api.pageQuery(seen, last)}`;
        const page = await callKeyApi(access, 'GET', path, api.page);
        const found = page?.keys.find((key) => key.name === name);
        if (found !== undefined) return found.handle;
        last = page?.keys.at(-1)?.handle;
        if (page === null || page.isLast || last === undefined) return null;
        seen += page.keys.length;
      }
      throw new AppError('upstream_protocol', 'The list of keys does not end.');
    },
  };
}

export interface OpenAiKeysSettings extends KeyApiAccess {
  /** Its budget and rate limits hold for every key. */
  readonly projectId: string;
}

/** OpenAI's API for service accounts of a project, opened by an admin key of the owner's. Each has one key. */
export function createOpenAiKeyIssuer(options: OpenAiKeysSettings & OurHttp): KeyIssuer {
  const { projectId } = options;
  const api: KeyApi = {
    path: `/v1/organization/projects/${encodeURIComponent(projectId)}/service_accounts`,
    body: {},
    issued: z
      .looseObject({ id: z.string().min(1), api_key: z.looseObject({ value: z.string().min(1) }) })
      .transform(({ id, api_key }) => ({ apiKey: api_key.value, handle: id })),
    page: z
      .looseObject({
        data: z.array(z.looseObject({ id: z.string(), name: z.string().nullish() })),
        has_more: z.boolean().nullish(),
      })
      .transform(({ data, has_more }) => ({
        keys: data.map(({ id, name }) => ({ handle: id, name })),
        isLast: has_more !== true,
      })),
    pageQuery: (_seen, last) => `limit=100${last === undefined ? '' : `&after=${encodeURIComponent(last)}`}`,
    notThere: `There is no project "${projectId}" for this admin key.`,
  };
  return createKeyIssuer(api, options);
}

export interface OpenRouterKeysSettings extends KeyApiAccess {
  /** What one key may spend, in US dollars. */
  readonly limit: number;
  /** After which time it may spend that again; never when undefined. */
  readonly limitReset: 'daily' | 'weekly' | 'monthly' | undefined;
}

/** OpenRouter's API for keys, opened by a management key of the owner's. */
export function createOpenRouterKeyIssuer(options: OpenRouterKeysSettings & OurHttp): KeyIssuer {
  const { limit, limitReset } = options;
  const api: KeyApi = {
    path: '/api/v1/keys',
    body: { limit, limit_reset: limitReset },
    issued: z
      .looseObject({ key: z.string().min(1), data: z.looseObject({ hash: z.string().min(1) }) })
      .transform(({ key, data }) => ({ apiKey: key, handle: data.hash })),
    page: z
      .looseObject({ data: z.array(z.looseObject({ hash: z.string(), name: z.string().nullish() })) })
      .transform(({ data }) => ({
        keys: data.map(({ hash, name }) => ({ handle: hash, name })),
        isLast: data.length === 0,
      })),
    pageQuery: (seen) => `offset=${seen}`,
    notThere: 'There is no key-management API at this base_url.',
  };
  return createKeyIssuer(api, options);
}

/**
 * One call; the answer's JSON, or null when what it names is not there (404). Throws AppError. `upstream_unauthorized`,
 * `upstream_refused`, `upstream_rate_limited` and `invalid_request` mean that nothing was done; after any other code that is
 * unknown.
 */
async function callKeyApi<Schema extends z.ZodType>(
  { adminKey, baseUrl, http, userAgent }: KeyApiAccess & OurHttp,
  method: 'GET' | 'POST' | 'DELETE',
  path: string,
  schema: Schema,
  { body, signal }: { readonly body?: unknown; readonly signal?: AbortSignal | undefined } = {},
): Promise<z.infer<Schema> | null> {
  const answer = await http({
    method,
    url: `${baseUrl}${path}`,
    headers: {
      authorization: `Bearer ${adminKey}`,
      accept: 'application/json',
      'user-agent': userAgent,
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    timeoutMs,
    ...(signal && { signal }),
  });
  const isGood = answer.status >= 200 && answer.status <= 299;
  const { form, text } = readFailedAnswer(answer);
  // An HTML page with status 404 does not mean that the key is gone.
  if (!isGood && form === 'page') throw answeredOnTheWay({ cause: new Error(beginningOf(text, 2_000)) });
  if (answer.status === 404) return null;
  if (!isGood) {
    const known = statusError(answer, 'The key-management API', {
      rejects: 'the admin key: replace it.',
      refuses: `the call (${answer.status}): the admin key may not manage keys, or there is no credit.`,
    });
    const message = `The key-management API does not take the request (${answer.status}).`;
    throw known ?? new AppError('invalid_request', message);
  }
  const parsed = schema.safeParse(parseJson(answer.body), upToFirstProblem);
  if (parsed.success) return parsed.data;
  throw new AppError('upstream_protocol', 'The key-management API answered something unknown.', {
    cause: parsed.error,
  });
}
