import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fail, json } from './answers.ts';
import { type ChatRequest, models, play } from './scenarios.ts';

/** A request as it came. */
export interface SeenRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
  /** As it was written. */
  readonly text: string;
  /** The key, without its scheme; empty where none was sent. */
  readonly key: string;
  /** Our side was cut before the answer had ended. */
  wasCut: boolean;
}

export interface OpenaiSandbox {
  /** With the path prefix that OpenAI's base URL has. */
  readonly url: string;
  /** Turns, in the order they came. */
  readonly turns: SeenRequest[];
  /** All other requests. */
  readonly others: SeenRequest[];
  close(): Promise<void>;
}

export interface OpenaiSandboxOptions {
  /** False: a server on a person's own machine, that takes any key and none. */
  readonly needsKey?: boolean;
  /** In front of the paths. */
  readonly prefix?: string;
}

/** Answers for keys that begin so, whatever is asked. */
const refusedKeys: readonly (readonly [
  prefix: string,
  status: number,
  code: string,
  headers?: Record<string, string>,
])[] = [
  ['sk-bad', 401, 'invalid_api_key'],
  ['sk-limited', 429, 'rate_limit_exceeded', { 'retry-after': '30' }],
  ['sk-spent', 429, 'insufficient_quota'],
  ['sk-broken', 500, 'server_error'],
];

/** Plays a server of OpenAI's Chat Completions on this machine. The model's name chooses the scenario. */
export async function startOpenaiSandbox(options: OpenaiSandboxOptions = {}): Promise<OpenaiSandbox> {
  const { needsKey = true, prefix = '/v1' } = options;
  const turns: SeenRequest[] = [];
  const others: SeenRequest[] = [];

  const server = createServer(async (request, response) => {
    const seen = await see(request);
    const isTurn = request.method === 'POST' && seen.path === `${prefix}/chat/completions`;
    (isTurn ? turns : others).push(seen);
    response.on('close', () => {
      seen.wasCut = !response.writableFinished;
    });
    if (needsKey && seen.key === '')
      return fail(response, 401, 'invalid_api_key', 'You did not provide an API key.');
    const refusal = refusedKeys.find(([start]) => seen.key.startsWith(start));
    // A key that is limited or out of quota may still list models.
    if (refusal && (isTurn || refusal[1] === 401)) {
      const [, status, code, headers] = refusal;
      return fail(response, status, code, `Refused: ${code}`, headers);
    }
    if (request.method === 'GET' && seen.path === `${prefix}/models`) {
      return json(response, 200, { object: 'list', data: models.map(asModel) });
    }
    if (!isTurn)
      return fail(response, 404, 'unknown_url', `Unknown request URL: ${request.method} ${seen.path}.`);
    let body: ChatRequest;
    try {
      body = JSON.parse(seen.text) as ChatRequest;
    } catch {
      return fail(response, 400, null, 'We could not parse the JSON body of your request.');
    }
    if (!models.includes(body.model)) {
      return fail(
        response,
        404,
        'model_not_found',
        `The model \`${body.model}\` does not exist or you do not have access to it.`,
      );
    }
    await play(body, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}${prefix}`,
    turns,
    others,
    async close() {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
}

async function see(request: IncomingMessage): Promise<SeenRequest> {
  const parts: Buffer[] = [];
  for await (const part of request as AsyncIterable<Buffer>) parts.push(part);
  const { method = '', url = '', headers } = request;
  const key = String(headers['api-key'] ?? headers.authorization ?? '').replace(/^Bearer /, '');
  return { method, path: url, headers, text: Buffer.concat(parts).toString(), key, wasCut: false };
}

function asModel(id: string) {
  return { id, object: 'model', created: 1_700_000_000, owned_by: 'sandbox' };
}
