import { AppError } from '../core/errors.ts';
import type { ProviderHttp } from '../core/provider.ts';
import { unsentIn } from '../lib/network/transport-errors.ts';
import { type Finding, ok, problem } from './report.ts';

const limitMs = 10_000;
const mostSkewMs = 60_000;

/** Whether a provider's host answers at all, and whether its clock and ours agree. No credential is sent. */
export async function lookAtUpstream(
  provider: string,
  url: string,
  http: ProviderHttp,
  userAgent: string,
): Promise<Finding[]> {
  const name = `provider ${provider}`;
  const startedAt = Date.now();
  const begunAt = performance.now();
  try {
    const answer = await http({
      method: 'GET',
      url: `${url}/`,
      headers: { 'user-agent': userAgent },
      timeoutMs: limitMs,
    });
    const tookMs = Math.round(performance.now() - begunAt);
    const reached = ok(name, `${url} answers (${answer.status}) in ${tookMs} ms`);
    return [reached, ...lookAtClock(answer.headers['date'], startedAt + tookMs / 2)];
  } catch (error) {
    return [problem(name, reasonOf(error, url))];
  }
}

function lookAtClock(date: string | string[] | undefined, now: number): Finding[] {
  const theirs = Date.parse(String(date));
  if (Number.isNaN(theirs)) return [];
  const skewMs = now - theirs;
  const seconds = Math.round(Math.abs(skewMs) / 1000);
  if (Math.abs(skewMs) <= mostSkewMs)
    return [ok('clock', `within ${Math.max(1, seconds)} s of the provider's`)];
  const way = skewMs > 0 ? 'ahead of' : 'behind';
  return [
    problem(
      'clock',
      `this machine is ${seconds} s ${way} the provider: set it (NTP), or tokens lapse unseen`,
    ),
  ];
}

/** What never left this machine says why, and what to do. */
function reasonOf(error: unknown, url: string): string {
  const { message } = unsentIn(error) ?? AppError.from(error);
  return message.includes(new URL(url).host) ? message : `${url}: ${message}`;
}
