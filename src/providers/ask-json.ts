import { z } from 'zod';
import { AppError } from '../core/errors.ts';
import type { ProviderHttp } from '../core/provider.ts';
import { readRetryAfter } from '../lib/backoff.ts';
import { parseJson } from '../lib/parse-json.ts';
import { beginningOf } from '../lib/shown-text.ts';
import { answeredOnTheWay, isOfTheWay, readFailedAnswer } from '../protocols/shared/failed-answer.ts';

const timeoutMs = 5_000;

/**
 * Asks a provider something about a bearer. Answers the JSON of a 200, undefined where it is none. Throws AppError:
 * `upstream_unauthorized` (401), `upstream_refused` (402, 403), `upstream_rate_limited` (429), `upstream_unavailable`
 * (5xx, a page of something on the way, no answer), `upstream_timeout`, `upstream_protocol` (anything else).
 */
export async function askJson(
  http: ProviderHttp,
  request: {
    readonly url: string;
    readonly headers: Readonly<Record<string, string>>;
    readonly signal?: AbortSignal | undefined;
  },
): Promise<unknown> {
  const { url, headers, signal } = request;
  const answer = await http({
    method: 'GET',
    url,
    headers: { accept: 'application/json', ...headers },
    timeoutMs,
    ...(signal && { signal }),
  });
  const { form, text } = readFailedAnswer(answer);
  if (answer.status === 200) return parseJson(text);
  const isRefusal = answer.status === 402 || answer.status === 403;
  if (isOfTheWay(answer, form) || (form !== 'json' && isRefusal))
    throw answeredOnTheWay({ cause: new Error(beginningOf(text, 2_000)) });
  // OpenAI's answer to a restricted key that may do other things.
  if (text.includes('insufficient permissions for this operation')) {
    const message = 'The provider does not let this key read that. It may still be good for turns.';
    throw new AppError('upstream_protocol', message);
  }
  // Google answers so where others say 401.
  const isBadKey = answer.status === 400 && text.includes('API_KEY_INVALID');
  const status = isBadKey ? 401 : answer.status;
  throw (
    statusError({ ...answer, status }, 'The provider', {
      rejects: 'this credential. Replace it.',
      refuses: `this account (${status}).`,
    }) ?? new AppError('upstream_protocol', `The provider answered ${status}; is the address right?`)
  );
}

/** What the status of an API's own answer means; undefined where it says nothing of the credential or the moment. */
export function statusError(
  { status, headers }: Pick<Awaited<ReturnType<ProviderHttp>>, 'status' | 'headers'>,
  who: string,
  { rejects, refuses }: { readonly rejects: string; readonly refuses: string },
): AppError | undefined {
  if (status === 401) return new AppError('upstream_unauthorized', `${who} rejects ${rejects}`);
  if (status === 402 || status === 403) return new AppError('upstream_refused', `${who} refuses ${refuses}`);
  if (status >= 500) {
    return new AppError('upstream_unavailable', `${who} is unwell (${status}). Try again.`);
  }
  if (status !== 429) return undefined;
  const retryAfterMs = readRetryAfter(headers);
  return new AppError('upstream_rate_limited', `${who} asks to wait.`, {
    ...(retryAfterMs !== undefined && { retryAfterMs }),
  });
}

/** Asks for a list of models as `askJson` does. Throws AppError `upstream_protocol` for any other answer, too. */
export async function askForModels<Schema extends z.ZodType>(
  http: ProviderHttp,
  schema: Schema,
  request: Parameters<typeof askJson>[1],
): Promise<z.output<Schema>> {
  const list = schema.safeParse(await askJson(http, request));
  if (list.success) return list.data;
  const [address] = request.url.split('?');
  throw new AppError('upstream_protocol', `${address} gave no list of models.`, { cause: list.error });
}

const mostPages = 20;

/** What all pages of a list hold, up to one that names no further page, or itself. */
export async function allPages<Item>(
  askPage: (after: string | undefined) => Promise<{
    readonly items: readonly Item[];
    readonly next: string | null | undefined;
  }>,
): Promise<Item[]> {
  const all: Item[] = [];
  let after: string | undefined;
  for (let pages = 0; pages < mostPages; pages += 1) {
    const { items, next } = await askPage(after);
    all.push(...items);
    if (!next || next === after) break;
    after = next;
  }
  return all;
}

/** A provider's list, without the entries that cannot be read: one odd model must not hide the others. */
export function readableEntries<Entry extends z.ZodType>(entry: Entry) {
  return z.array(z.unknown()).transform((items) =>
    items.flatMap((item) => {
      const read = entry.safeParse(item);
      return read.success ? [read.data] : [];
    }),
  );
}
