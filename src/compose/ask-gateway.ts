import type { IncomingMessage } from 'node:http';
import type { Config } from '../config.ts';
import { localUrl } from '../lib/addresses/loopback.ts';
import { errorCode } from '../lib/errors.ts';
import { httpRequest } from '../lib/node-http.ts';
import { isJsonObject, parseJsonObject } from '../lib/parse-json.ts';
import { readBytes } from '../lib/read-bytes.ts';

interface GatewayCall {
  readonly method: 'GET' | 'POST' | 'PATCH';
  readonly body?: unknown;
}

const limitMs = 10_000;
const mostBytes = 4 * 1024 * 1024;

/** What a gateway answers its operator; without `url` the one of these settings. Throws an Error that says what to do. */
export async function askGateway(
  config: Config,
  path: string,
  url = localUrl(config.gateway),
  call: GatewayCall = { method: 'GET' },
): Promise<unknown> {
  const base = URL.canParse(url) ? new URL(url) : undefined;
  if (base?.protocol !== 'http:' && base?.protocol !== 'https:') {
    throw new Error(`"${url}" is no http or https address of a gateway.`);
  }
  const key = config.pool.adminKey ?? config.gateway.apiKeys[0];
  const answer = await send(new URL(base.pathname.replace(/\/+$/, '') + path, base), call, key).catch(
    (error: unknown) => {
      const code = errorCode(error) ?? 'no answer';
      throw new Error(
        `The gateway at ${base.origin} cannot be reached (${code}): start it with "warp2api serve", or name it with --gateway.`,
        { cause: error },
      );
    },
  );
  const tooLarge = () => new Error(`The answer of ${base.origin} is too large to be the gateway's.`);
  const said = parseJsonObject((await readBytes(answer, mostBytes, tooLarge)).toString());
  if ((answer.statusCode === 200 || answer.statusCode === 201) && said) return said;
  const error = said?.['error'];
  const message = isJsonObject(error) ? error['message'] : undefined;
  throw new Error(
    typeof message === 'string'
      ? message
      : `What answers at ${base.origin} is not the gateway (status ${answer.statusCode}).`,
  );
}

async function send(
  url: URL,
  { method, body }: GatewayCall,
  key: string | undefined,
): Promise<IncomingMessage> {
  const request = url.protocol === 'https:' ? (await import('node:https')).request : httpRequest;
  const headers = {
    accept: 'application/json',
    ...(key !== undefined && { authorization: `Bearer ${key}` }),
  };
  return new Promise((resolve, reject) => {
    const sent = request(url, { method, headers, signal: AbortSignal.timeout(limitMs) });
    sent.on('response', resolve);
    sent.on('error', reject);
    sent.end(body === undefined ? undefined : JSON.stringify(body));
  });
}
