import { AppError } from '../core/errors.ts';
import type { ProviderHttp } from '../core/provider.ts';
import type { Network } from '../lib/network/network.ts';
import { type NamedProxy, type ProxySettings, shownProxy } from '../lib/network/proxy-rules.ts';
import { isSurelyUnsent, unsentIn } from '../lib/network/transport-errors.ts';
import { type Finding, findingOf, ok, problem, skipped } from './report.ts';

export async function lookAtProxies(
  { http, https, noProxy }: ProxySettings,
  network: Network,
): Promise<Finding[]> {
  const name = 'proxy';
  if (!http && !https) return [ok(name, 'none is set: vendors are reached directly')];
  if (http && !https)
    return [ok(name, `${http.setting} alone has no effect: vendors are https, and reached directly`)];
  const exceptions = noProxy.length === 0 ? '' : `; not for ${noProxy.join(', ')} (NO_PROXY)`;
  const look = async (kind: string, proxy: NamedProxy): Promise<Finding> => {
    await network.probeProxy(proxy);
    return ok(name, `${kind} goes through ${shownProxy(proxy)} (${proxy.setting})${exceptions}`);
  };
  const looks = http?.url === https?.url ? { 'http and https': https } : { https, http };
  const findings = await Promise.all(
    Object.entries(looks).map(([kind, proxy]) => (proxy ? findingOf(name, () => look(kind, proxy)) : [])),
  );
  return findings.flat();
}

/** The HTTP version that Warp's server negotiates; without the right one it refuses turns in misleading words. */
export async function lookAtProtocol(
  serverUrl: string,
  needsHttp2: boolean,
  network: Network,
): Promise<Finding[]> {
  const url = new URL(serverUrl);
  const name = 'HTTP version';
  if (url.protocol === 'http:') return [ok(name, `http/1.1: ${url.host} is plain http`)];
  try {
    const { protocol, proxy } = await network.probe(url);
    const way = proxy ? ` through ${shownProxy(proxy)}` : '';
    if (protocol === 'h2' || !needsHttp2) return [ok(name, `${url.host} negotiates ${protocol}${way}`)];
    return [
      problem(
        name,
        `${url.host} negotiates ${protocol}${way}, and turns need h2 (HTTP/2): look for a proxy or firewall that inspects TLS, and let it pass ${url.host} untouched`,
      ),
    ];
  } catch (error) {
    if (!isSurelyUnsent(error)) throw error;
    return [skipped(name, `not known while ${url.host} cannot be reached`)];
  }
}

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
