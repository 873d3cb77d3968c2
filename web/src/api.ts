import { effect, type Signal, signal, untracked, useSignal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';

/** Calls of the service that this page came from. */

export class ApiError extends Error {
  readonly status: number;
  /** The error's code; `unreachable` where no answer came. */
  readonly code: string;
  readonly param: string | undefined;
  readonly requestId: string | undefined;
  readonly retryAfterSeconds: number | undefined;

  constructor(
    status: number,
    code: string,
    message: string,
    more: { readonly param?: string | undefined; readonly headers?: Headers } = {},
  ) {
    super(message);
    this.status = status;
    this.code = code;
    this.param = more.param;
    this.requestId = more.headers?.get('x-request-id') ?? undefined;
    this.retryAfterSeconds = Number(more.headers?.get('retry-after')) || undefined;
  }
}

export function asError(thrown: unknown): ApiError {
  return thrown instanceof ApiError ? thrown : new ApiError(0, 'error', String(thrown));
}

/** What a write with a session's cookie has to show; see session.ts. */
export const csrf: Signal<string | undefined> = signal(undefined);
/** Counts answers that say the session is over. */
export const refusals = signal(0);
/** A session that was there has ended. Until there is another, nothing is loaded again without a press. */
export const hasExpired = signal(false);

type Query = Readonly<Record<string, string | number | boolean | undefined>>;

export const api = {
  get: <Answer>(path: string, query: Query = {}, abort?: AbortSignal) =>
    call<Answer>('GET', path + queryText(query), undefined, abort),
  post: <Answer>(path: string, body?: unknown, abort?: AbortSignal) =>
    call<Answer>('POST', path, body, abort),
  patch: <Answer>(path: string, body: unknown) => call<Answer>('PATCH', path, body),
  delete: <Answer>(path: string) => call<Answer>('DELETE', path),
  /** The answer itself, for a download or what is no JSON. */
  raw: (method: string, path: string, body?: unknown) => send(method, path, body),
};

export function queryText(query: Query): string {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== '');
  const text = new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString();
  return text === '' ? '' : `?${text}`;
}

async function call<Answer>(
  method: string,
  path: string,
  body?: unknown,
  abort?: AbortSignal,
): Promise<Answer> {
  const answer = await send(method, path, body, abort);
  const text = await answer.text();
  return (text === '' ? undefined : JSON.parse(text)) as Answer;
}

async function send(method: string, path: string, body?: unknown, abort?: AbortSignal): Promise<Response> {
  let answer = await sendOnce(method, path, body, abort);
  // Whoever signs in again in another tab begins a session with another token.
  if (answer.status === 403 && method !== 'GET' && (await hasNewToken())) {
    answer = await sendOnce(method, path, body, abort);
  }
  if (answer.ok) return answer;
  if (answer.status === 401) refusals.value += 1;
  throw errorFrom(answer, await answer.text());
}

async function hasNewToken(): Promise<boolean> {
  const before = csrf.value;
  if (before === undefined) return false;
  const answer = await sendOnce('GET', '/api/session');
  const now = answer.ok ? ((await answer.json()) as { readonly csrf?: string }).csrf : undefined;
  if (now === undefined || now === before) return false;
  csrf.value = now;
  return true;
}

async function sendOnce(
  method: string,
  path: string,
  body?: unknown,
  abort?: AbortSignal,
): Promise<Response> {
  const headers = new Headers({ accept: 'application/json' });
  if (body !== undefined) headers.set('content-type', 'application/json');
  if (method !== 'GET' && csrf.value !== undefined) headers.set('x-warp2api-csrf', csrf.value);
  try {
    return await fetch(path, {
      method,
      headers,
      credentials: 'same-origin',
      cache: 'no-store',
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      ...(abort ? { signal: abort } : {}),
    });
  } catch (error) {
    if (abort?.aborted) throw error;
    throw new ApiError(0, 'unreachable', 'The service does not answer.');
  }
}

/** Both services name code and message; the gateway has the code of an OpenAI client in `code` or else in `type`. */
function errorFrom({ status, statusText, headers }: Response, text: string): ApiError {
  try {
    const { error } = JSON.parse(text) as {
      error: { code?: string | null; type?: string; message: string; param?: string | null };
    };
    const code = error.code ?? error.type ?? 'error';
    return new ApiError(status, code, error.message, { param: error.param ?? undefined, headers });
  } catch {
    return new ApiError(status, 'error', `HTTP ${status} ${statusText}`, { headers });
  }
}

export interface Loaded<Value> {
  readonly value: Signal<Value | undefined>;
  readonly error: Signal<ApiError | undefined>;
  readonly isLoading: Signal<boolean>;
  reload(): Promise<void>;
}

/**
 * Loads when the component appears and whenever a word of `on` changes, and again every `everyMs` while the page is looked
 * at. `changes` counts those at the service: after one it is loaded again, once what is being loaded has come, since on a busy
 * service the next change is there before an answer. What was loaded stays while it is loaded again; an answer to an earlier
 * question is dropped.
 */
export function useLoaded<Value>(
  load: (abort: AbortSignal) => Promise<Value>,
  on: readonly unknown[] = [],
  everyMs?: number,
  changes: () => number = () => 0,
): Loaded<Value> {
  const value = useSignal<Value | undefined>(undefined);
  const error = useSignal<ApiError | undefined>(undefined);
  const isLoading = useSignal(true);
  const running = useRef<AbortController>(undefined);
  const latest = useRef(load);
  latest.current = load;
  const isDue = useRef(false);

  async function reload(): Promise<void> {
    running.current?.abort();
    const abort = new AbortController();
    running.current = abort;
    isDue.current = false;
    isLoading.value = true;
    try {
      const loaded = await latest.current(abort.signal);
      if (abort.signal.aborted) return;
      value.value = loaded;
      error.value = undefined;
    } catch (thrown) {
      if (abort.signal.aborted) return;
      error.value = asError(thrown);
    }
    isLoading.value = false;
    if (isDue.current) void reload();
  }

  function refresh(): void {
    if (isLoading.peek()) isDue.current = true;
    else void reload();
  }

  useEffect(() => {
    void reload();
    const timer =
      everyMs === undefined
        ? undefined
        : setInterval(
            () => document.hidden || hasExpired.peek() || isLoading.peek() || void reload(),
            everyMs,
          );
    let seen: number | undefined;
    let hasPaused = false;
    const stopWatching = effect(() => {
      const count = changes();
      if (hasExpired.value) {
        hasPaused = true;
        return;
      }
      if (hasPaused || (seen !== undefined && seen !== count)) untracked(refresh);
      hasPaused = false;
      seen = count;
    });
    return () => {
      clearInterval(timer);
      stopWatching();
      running.current?.abort();
    };
  }, on);
  return { value, error, isLoading, reload };
}
