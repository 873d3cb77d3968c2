import type { Network } from '../lib/network/network.ts';
import { type NamedProxy, type ProxySettings, shownProxy } from '../lib/network/proxy-rules.ts';
import { isSurelyUnsent } from '../lib/network/transport-errors.ts';
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
