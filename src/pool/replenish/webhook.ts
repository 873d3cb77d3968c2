import { AppError } from '../../core/errors.ts';
import type { ProviderHttp } from '../../core/provider.ts';
import { beginningOf } from '../../lib/shown-text.ts';
import { Deliveries } from './deliveries.ts';
import { redacted, type Source, SourceError, type SourceTools } from './source.ts';

export interface WebhookSourceSettings {
  readonly type: 'webhook';
  readonly name: string;
  readonly url: string;
  readonly timeoutMs: number;
  readonly headers: Readonly<Record<string, string>>;
}

const mostBytes = 1024 * 1024;
/** Characters of a refusal that are searched for secrets before its beginning is shown. */
const mostRead = 64 * 1024;

/** An address of the owner's that answers with accounts in the import format. No redirect is followed. */
export function createWebhookSource(
  settings: WebhookSourceSettings,
  tools: SourceTools,
  { http, userAgent }: { readonly http: ProviderHttp; readonly userAgent: string },
): Source {
  const { name, url, timeoutMs, headers } = settings;
  const { secrets } = tools.basics;
  secrets.addUrl(url, { isPathSecret: true });
  // They come from variables because they are secret, whatever the header.
  for (const value of Object.values(headers)) secrets.addNamed('authorization', value);
  const deliveries = new Deliveries(name, tools);
  const ask = async (count: number, signal: AbortSignal) => {
    try {
      return await http({
        method: 'POST',
        url,
        headers: {
          accept: 'application/x-ndjson',
          'content-type': 'application/json',
          'user-agent': userAgent,
          ...headers,
        },
        body: JSON.stringify({ count }),
        timeoutMs,
        signal,
      });
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
      throw new SourceError(`the webhook did not answer: ${error.message}`, { cause: error });
    }
  };
  return {
    name,
    type: settings.type,
    restsWhenEmpty: true,
    recover: () => deliveries.recover(),
    async fetch(batch) {
      const { status, body } = await ask(batch.wanted, batch.signal);
      const text = Buffer.from(body).toString('utf8');
      if (status < 200 || status > 299) {
        const said = redacted(beginningOf(text, mostRead), secrets);
        throw new SourceError(`the webhook answered ${status}${said === '' ? '' : `: ${said}`}`);
      }
      if (body.length > mostBytes) {
        throw new SourceError(`the webhook answered with more than ${mostBytes} bytes`);
      }
      await deliveries.receive(text, batch);
    },
  };
}
