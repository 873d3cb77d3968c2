import { connect } from 'node:net';
import { AppError } from '../core/errors.ts';
import type { ProviderHttp } from '../core/provider.ts';
import { type Finding, ok, problem, skipped } from './report.ts';

/** What listens at a service's address. */
export interface Listener {
  readonly isOurs: boolean;
  readonly finding: Finding;
}

const limitMs = 3000;

/** Asks whatever listens at `url` whether it is our service. `setting` is what would move ours elsewhere. */
export async function lookAtPort(
  name: string,
  url: string,
  setting: string,
  http: ProviderHttp,
): Promise<Listener> {
  if (!(await isTaken(url))) {
    return { isOurs: false, finding: ok(name, `does not run; ${url} is free`) };
  }
  try {
    const health = (await askHealth(url, http)) as Health;
    if (typeof health.status === 'string' && typeof health.version === 'string') {
      const message = `runs at ${url}, version ${health.version}, ${health.status}`;
      const troubles = troublesOf(health);
      const isWell = health.status === 'ok' && troubles.length === 0;
      const why = troubles.length === 0 ? 'its log says why' : troubles.join('; ');
      return { isOurs: true, finding: isWell ? ok(name, message) : problem(name, `${message}: ${why}`) };
    }
  } catch (error) {
    if (error instanceof AppError && error.code === 'upstream_timeout') {
      const message = `what listens at ${url} did not answer within ${limitMs / 1000} s: if that is our ${name}, its log says why; else choose another ${setting}`;
      return { isOurs: false, finding: problem(name, message) };
    }
    // It speaks something else, or nothing.
  }
  const fix =
    setting === 'POOL_SERVICE_URL'
      ? `what answers at ${url} is not the pool: correct POOL_SERVICE_URL, which mostly has no path`
      : `another program listens at ${url}: stop it, or choose another ${setting}`;
  return { isOurs: false, finding: problem(name, fix) };
}

/** What a service of ours, of this version or another, says of itself. */
interface Health {
  readonly status?: unknown;
  readonly version?: unknown;
  readonly pool?: { readonly reachable?: unknown; readonly accepts_key?: unknown };
  readonly store?: { readonly reachable?: unknown; readonly writable?: unknown };
  readonly keep?: { readonly reachable?: unknown; readonly writable?: unknown };
  readonly log?: { readonly writable?: unknown };
  readonly disk?: { readonly low?: unknown };
}

function troublesOf({ pool, store, keep, log, disk }: Health): string[] {
  const troubles: readonly (readonly [isThere: boolean, what: string])[] = [
    [pool?.accepts_key === false, 'the pool does not take its key: set the same GATEWAY_KEY for both'],
    [pool?.reachable === false, 'it cannot reach the pool, or the pool its database'],
    [store?.reachable === false, 'its database cannot be reached'],
    [
      store?.writable === false && store.reachable !== false,
      'its database takes no changes: make room on its disk',
    ],
    [
      keep?.reachable === false,
      'what it remembers is in memory only: start the database of KEEP_URL, or correct KEEP_URL',
    ],
    [keep?.writable === false, 'what it remembers cannot be written: make room on the disk of KEEP_URL'],
    [log?.writable === false, 'its log cannot be written: make room on its disk'],
    [disk?.low === true, 'a disk that it writes to is nearly full: make room on it'],
  ];
  return troubles.flatMap(([isThere, what]) => (isThere ? [what] : []));
}

/** What a service says of itself. */
export async function askHealth(url: string, http: ProviderHttp): Promise<unknown> {
  const { body } = await http({ method: 'GET', url: `${url}/health`, headers: {}, timeoutMs: limitMs });
  return JSON.parse(Buffer.from(body).toString());
}

function isTaken(url: string): Promise<boolean> {
  const { hostname, port, protocol } = new URL(url);
  const usual = protocol === 'https:' ? 443 : 80;
  return new Promise((resolve) => {
    const socket = connect({
      host: hostname.replace(/^\[|\]$/g, ''),
      port: Number(port || usual),
      timeout: limitMs,
    });
    const end = (taken: boolean): void => {
      socket.destroy();
      resolve(taken);
    };
    socket.once('connect', () => end(true));
    socket.once('error', () => end(false));
    socket.once('timeout', () => end(false));
  });
}

const prompt = { messages: [{ role: 'user', content: 'Answer with the word ok.' }], max_tokens: 16 };

/** One real answer through the gateway. */
export async function askForAnswer(
  url: string,
  apiKey: string | undefined,
  model: string,
  http: ProviderHttp,
): Promise<Finding> {
  const startedAt = performance.now();
  const answer = await http({
    method: 'POST',
    url: `${url}/v1/chat/completions`,
    headers: {
      'content-type': 'application/json',
      ...(apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` }),
    },
    body: JSON.stringify({ model, ...prompt }),
    timeoutMs: 60_000,
  });
  const body = JSON.parse(Buffer.from(answer.body).toString()) as {
    error?: { message?: string };
    choices?: { finish_reason?: string }[];
  };
  const tookMs = Math.round(performance.now() - startedAt);
  if (answer.status === 200)
    return ok('answer', `${model} answered in ${tookMs} ms (${body.choices?.[0]?.finish_reason})`);
  return problem('answer', `${answer.status}: ${body.error?.message ?? 'no reason was given'}`);
}

export const noAnswer = (why: string): Finding => skipped('answer', why);
