import type { ProviderHttp } from '../core/provider.ts';
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
  try {
    const answer = await http({
      method: 'GET',
      url: `${url}/`,
      headers: { 'user-agent': userAgent },
      timeoutMs: limitMs,
    });
    const endedAt = Date.now();
    const reached = ok(name, `${url} answers (${answer.status}) in ${endedAt - startedAt} ms`);
    return [reached, ...lookAtClock(answer.headers['date'], (startedAt + endedAt) / 2)];
  } catch (error) {
    return [
      problem(name, `${url} cannot be reached (${reasonOf(error)}): check the network, a proxy, or the URL`),
    ];
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

/** The innermost cause says most: ENOTFOUND, a certificate, a refused connection. */
function reasonOf(error: unknown): string {
  let last = error;
  while (last instanceof Error && last.cause !== undefined) last = last.cause;
  if (!(last instanceof Error)) return String(last);
  const code = 'code' in last && typeof last.code === 'string' ? last.code : undefined;
  return code ?? last.message;
}
