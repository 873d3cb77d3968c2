import type { OzAPI } from 'oz-agent-sdk';
import type { ProviderHttp } from '../../core/provider.ts';

/** The vendor's own client for one bearer. */
export type OzClients = (bearer: string) => Promise<OzAPI>;

/** No call of this API waits for a run, so a slow answer is a lost one. */
const timeoutMs = 30_000;

export function createOzClients(options: {
  readonly serverUrl: string;
  readonly http: ProviderHttp;
  readonly userAgent: string;
}): OzClients {
  const fetch = fetchOver(options.http);
  return async (apiKey) => {
    // Loaded by whoever has such an account: most processes never do.
    const sdk = await import('oz-agent-sdk');
    return new sdk.OzAPI({
      apiKey,
      baseURL: `${options.serverUrl}/api/v1`,
      fetch,
      // What may be asked twice is decided here, by those who know what it does.
      maxRetries: 0,
      timeout: timeoutMs,
      logLevel: 'off',
      defaultHeaders: { 'User-Agent': options.userAgent },
    });
  };
}

/** The SDK's requests over our own HTTP: bounded answers, and no redirect that would carry the key elsewhere. */
function fetchOver(http: ProviderHttp) {
  return async (input: string | URL | Request, init: RequestInit = {}): Promise<Response> => {
    const answer = await http({
      method: init.method === 'POST' ? 'POST' : 'GET',
      url: String(input),
      headers: Object.fromEntries(new Headers(init.headers)),
      ...(typeof init.body === 'string' ? { body: init.body } : {}),
      timeoutMs,
      ...(init.signal ? { signal: init.signal } : {}),
    });
    const headers = new Headers();
    for (const [name, value] of Object.entries(answer.headers)) {
      for (const one of [value ?? []].flat()) headers.append(name, one);
    }
    const body = answer.body.length === 0 ? null : Buffer.from(answer.body);
    return new Response(body, { status: answer.status, headers });
  };
}
