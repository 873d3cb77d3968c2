import { connect } from 'node:net';
import { AppError } from '../core/errors.ts';
import type { ProviderHttp } from '../core/provider.ts';
import { type Finding, ok, problem, skipped } from './report.ts';

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
      const isWell = troubles.length === 0;
      const finding = isWell ? ok(name, message) : problem(name, `${message}: ${troubles.join('; ')}`);
      return { isOurs: true, finding };
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

/** What a service of ours, of this version or an older one that gives no reason, says of itself. */
interface Health {
  readonly status?: unknown;
  readonly reason?: unknown;
  readonly version?: unknown;
  readonly disk?: { readonly low?: unknown };
}

/** What a person has to do something about. */
function troublesOf({ status, reason, disk }: Health): string[] {
  const isDiskLow = disk?.low === true;
  const unknown = status === 'ok' || isDiskLow ? [] : ['its log says why'];
  return [
    ...(typeof reason === 'string' ? [reason] : unknown),
    ...(isDiskLow ? ['a disk that it writes to is nearly full: make room on it'] : []),
  ];
}

export async function askHealth(url: string, http: ProviderHttp): Promise<unknown> {
  const { body } = await http({ method: 'GET', url: `${url}/health`, headers: {}, timeoutMs: limitMs });
  return JSON.parse(Buffer.from(body).toString());
}

/** Whether the gateway answers clients that show no key. */
export async function takesNoKey(url: string, http: ProviderHttp): Promise<boolean> {
  const { status } = await http({
    method: 'GET',
    url: `${url}/api/usage/me`,
    headers: {},
    timeoutMs: limitMs,
  });
  return status === 200;
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

const keyNeeded =
  'the gateway takes only the keys that its operator has made: put one of them into CLIENT_KEY to have an answer';

/** One real answer through the gateway. */
export async function askForAnswer(
  url: string,
  apiKey: string | undefined,
  http: ProviderHttp,
): Promise<Finding> {
  const headers = {
    'content-type': 'application/json',
    ...(apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` }),
  };
  const listed = await http({ method: 'GET', url: `${url}/v1/models`, headers, timeoutMs: 10_000 });
  if (listed.status === 401 && apiKey === undefined) return noAnswer(keyNeeded);
  if (listed.status !== 200) return refused(listed);
  const { data = [] } = JSON.parse(Buffer.from(listed.body).toString()) as { data?: { id: string }[] };
  const ids = data.map(({ id }) => id);
  // The sandbox lists its own model first, and Warp's `auto` is the one that every account has.
  const model = ids[0] !== 'sandbox' && ids.includes('auto') ? 'auto' : ids[0];
  if (model === undefined) return problem('answer', 'no account lists a model');
  const startedAt = performance.now();
  const answer = await http({
    method: 'POST',
    url: `${url}/v1/chat/completions`,
    headers,
    body: JSON.stringify({ model, ...prompt }),
    timeoutMs: 60_000,
  });
  const tookMs = Math.round(performance.now() - startedAt);
  if (answer.status !== 200) return refused(answer);
  const { choices } = JSON.parse(Buffer.from(answer.body).toString()) as {
    choices?: { finish_reason?: string }[];
  };
  return ok('answer', `${model} answered in ${tookMs} ms (${choices?.[0]?.finish_reason})`);
}

function refused({ status, body }: Awaited<ReturnType<ProviderHttp>>): Finding {
  const { error } = JSON.parse(Buffer.from(body).toString()) as { error?: { message?: string } };
  return problem('answer', `${status}: ${error?.message ?? 'no reason was given'}`);
}

export const noAnswer = (why: string): Finding => skipped('answer', why);
