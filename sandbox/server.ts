// The HTTP server: paths, bearers, records. What is said on each path stands in chat.ts and graphql.ts.
import type http from 'node:http';
import { type Availability, type Credits, createAccounts } from './accounts.ts';
import { createBoundedMap } from './bounded-map.ts';
import { makeCertificate } from './certificate.ts';
import { answerChat, type ChatRoute, newRecord } from './chat.ts';
import { bodyOf, breakOff, type Connection, resetConnection } from './connections.ts';
import { answerControl } from './controls.ts';
import { createConversations } from './conversations.ts';
import { http2Only, type Refusal, refusal } from './faults.ts';
import { answerOperation } from './graphql.ts';
import { readBody } from './http-body.ts';
import { createKeyManagement, type KeyManagement } from './key-management.ts';
import { Listeners } from './listeners.ts';
import { defaultModels, type SandboxModel } from './models.ts';
import { createOz, type Oz } from './oz.ts';
import { createPacer } from './pacer.ts';
import { scenarioForKey } from './scenarios.ts';
import { playFault } from './token-faults.ts';
import { createTokenServer, type SandboxTokens } from './token-server.ts';
import { SandboxTransport } from './transport.ts';
import {
  emptyCounts,
  remember,
  type SandboxCounts,
  type SandboxOperation,
  type SandboxTurn,
  teamOf,
} from './turn-log.ts';

export interface SandboxOptions {
  /** Default 127.0.0.1. */
  host?: string;
  /** Default 0: any free port. */
  port?: number;
  /** TLS with a certificate made at the start: `only` instead of plain http, `beside` on another port. Default: none. */
  tls?: 'only' | 'beside';
  /** The port of TLS beside plain http. Default 0. */
  tlsPort?: number;
  /** What ALPN offers. Default both. */
  alpn?: 'h2' | 'http/1.1' | 'h2,http/1.1';
  /** The most streams that one session may have open, told in its SETTINGS. */
  maxConcurrentStreams?: number;
  /** Answers HTTP/1.1 on `/ai/...` as the real front does: 403 and a page. */
  requireHttp2?: boolean;
}

export interface Sandbox {
  /** `http://host:port`, or `https` where there is nothing else; to be used as Warp's server root. */
  readonly url: string;
  readonly port: number;
  /** `https://host:port`; undefined without TLS. */
  readonly secureUrl: string | undefined;
  /** The certificate, the connections that clients made, and what is done to them. */
  readonly transport: SandboxTransport;
  /** The last 1,000 chat requests, newest last. */
  readonly turns: readonly SandboxTurn[];
  /** The last 1,000 GraphQL operations, newest last. */
  readonly operations: readonly SandboxOperation[];
  counts(): SandboxCounts;
  /** Makes one key meet one scenario, whatever the model says; undefined takes that back.
   *  Throws for a name there is no scenario of. */
  setKeyScenario(bearer: string, scenario: string | undefined): void;
  /** Fixes a key's credits; every finished turn still uses one, and with none left chat answers as `spent`. */
  setCredits(bearer: string, credits: Credits | undefined): void;
  /** The teams an account is in, by uid: the one that a call names is billed, else the first. `setCredits` and
   *  `setAvailability` take a team's uid too. */
  setTeams(bearer: string, teams: readonly string[] | undefined): void;
  /** Fixes what `GetAICreditAvailability` says, and with it whether a chat is let in; undefined: by the credits. */
  setAvailability(bearer: string, availability: Availability | undefined): void;
  /** Accounts that log in, their tokens, and what goes wrong with them. Each is known to the methods above by its id. */
  readonly tokens: SandboxTokens;
  /** Keys that were made with an admin key. */
  readonly keys: Pick<KeyManagement, 'keys' | 'adminKey'>;
  /** Cloud agent runs, begun over the documented API. */
  readonly oz: Pick<Oz, 'runs' | 'retireOldPath'>;
  /** Replaces the model list, of one key or of all that have none of their own; undefined takes that back. */
  setModels(models: readonly SandboxModel[] | undefined, bearer?: string): void;
  /** From now on every conversation so far is an unknown one. */
  forgetConversations(): void;
  /** Stops listening and destroys open connections. */
  close(): Promise<void>;
}

/** Starts a sandbox. Rejects with the server's own error, such as EADDRINUSE. */
export async function startSandbox(options: SandboxOptions = {}): Promise<Sandbox> {
  const { host = '127.0.0.1', port = 0, tls, tlsPort = 0, requireHttp2 = false } = options;
  const turns: SandboxTurn[] = [];
  const operations: SandboxOperation[] = [];
  const counts = emptyCounts();
  const pacer = createPacer();
  const accounts = createAccounts(new Date());
  const chat: ChatRoute = { accounts, conversations: createConversations(), pacer, counts };
  const login = createTokenServer();
  const keys = createKeyManagement();
  const oz = createOz();
  const setKeyScenario: Sandbox['setKeyScenario'] = (bearer, scenario) => {
    if (scenario !== undefined && !scenarioForKey(scenario))
      throw new Error(`there is no scenario "${scenario}"`);
    accounts.setKeyScenario(bearer, scenario);
  };
  let models = defaultModels;
  const modelsByAccount = createBoundedMap<readonly SandboxModel[]>(1_000);

  const serveChat = async (
    request: http.IncomingMessage,
    response: http.ServerResponse,
    connection: Connection,
  ): Promise<void> => {
    const bearer = bearerOf(request);
    const account = identityOf(bearer);
    const record = newRecord(request, bearer, account ?? '', connection.id);
    counts.turns += 1;
    counts.open += 1;
    remember(turns, record);
    response.once('close', () => {
      counts.open -= 1;
    });
    record.scenario = scenarioForKey(accounts.scenarioWish(record.account))?.scenario.name ?? '';
    const refused =
      refusalOf(account) ??
      (await withBody(request, (body) => answerChat(chat, record, body, { response, connection })));
    if (record.problems.length > 0) counts.withProblems += 1;
    if (!refused) return;
    record.status = refused.status;
    if (refused.status >= 400) counts.refused += 1;
    send(response, refused);
  };

  const serveGraphql = async (
    request: http.IncomingMessage,
    response: http.ServerResponse,
    op: string,
  ): Promise<void> => {
    const bearer = bearerOf(request);
    const account = identityOf(bearer);
    counts.operations += 1;
    const team = teamOf(request.headers);
    remember(operations, { at: new Date(), operationName: op, bearer, teamUid: team });
    const refused =
      refusalOf(account) ??
      scenarioForKey(accounts.scenarioWish(account ?? ''))?.scenario.graphqlRefusal ??
      (await withBody(request, async (body) => {
        const answer = () =>
          answerOperation(
            { op, body: jsonOf(body), account: account ?? '', team },
            accounts,
            modelsByAccount.get(account ?? '') ?? models,
          );
        const fault = login.takeFault(op, account ?? '');
        const execute = () => ({ status: 200, body: answer() });
        const refuse = (word: string) => ({ status: 200, body: { data: null, errors: [{ message: word }] } });
        const say = (said: { status: number; body: unknown }) => sendJson(response, said.status, said.body);
        if (fault) await playFault(fault, response, { execute, refuse, say });
        else say(execute());
        return undefined;
      }));
    if (refused) send(response, refused);
  };

  /** Who calls: a key is itself, a token stands for its account; null where the token is not good. */
  const identityOf = (bearer: string): string | null => {
    const identity = login.identityOf(bearer);
    return identity === undefined ? bearer : identity;
  };

  const refusalOf = (account: string | null): Refusal | undefined => {
    if (account === '') return refusal(401, 'sandbox: a bearer token is needed');
    if (account === null) return refusal(401, 'sandbox: the token has expired or was revoked');
    const wished = scenarioForKey(accounts.scenarioWish(account))?.scenario;
    return wished?.refusesEverything ? wished.refusal : undefined;
  };

  const serveKeys = async (
    request: http.IncomingMessage,
    response: http.ServerResponse,
    url: URL,
    text: () => Promise<string>,
  ): Promise<boolean> => {
    const found = keys.read(request.method ?? 'GET', url, bearerOf(request), await text());
    if (found === undefined) return false;
    const say = (said: { status: number; body: unknown }) => sendJson(response, said.status, said.body);
    const fault = login.takeFault(found.call, '');
    const refuse = (word: string) => ({ status: 403, body: { error: { message: word } } });
    if (fault) await playFault(fault, response, { execute: found.execute, refuse, say });
    else say(found.execute());
    return true;
  };

  const serveOz = async (
    request: http.IncomingMessage,
    response: http.ServerResponse,
    url: URL,
    text: () => Promise<string>,
  ): Promise<boolean> => {
    if (!url.pathname.startsWith('/api/v1/agent')) return false;
    const { method = 'GET', headers } = request;
    const bearer = identityOf(bearerOf(request)) ?? '';
    const userAgent = headers['user-agent'];
    const answer = oz.answer({ method, url, bearer, userAgent, text: await text() });
    if (answer === undefined) return false;
    if (answer === 'lost') resetConnection(response);
    else {
      response.writeHead(answer.status, { 'content-type': 'application/json', ...answer.headers });
      response.end(JSON.stringify(answer.body));
    }
    return true;
  };

  const serve = async (request: http.IncomingMessage, response: http.ServerResponse): Promise<void> => {
    const url = new URL(request.url ?? '/', 'http://sandbox');
    const route = `${request.method} ${url.pathname}`;
    const connection = listeners.connections.of(request);
    // Closed while the request was on its way.
    if (connection === undefined) return;
    connection.count(response, route === 'POST /ai/multi-agent');
    if (requireHttp2 && request.httpVersionMajor < 2 && url.pathname.startsWith('/ai/')) {
      return send(response, http2Only);
    }
    let body: Promise<string> | undefined;
    const text = (): Promise<string> => {
      body ??= bodyText(request);
      return body;
    };
    if (route === 'POST /ai/multi-agent') await serveChat(request, response, connection);
    else if (route === 'POST /graphql/v2')
      await serveGraphql(request, response, url.searchParams.get('op') ?? '');
    else if (route === 'GET /' || route === 'GET /health') {
      sendJson(response, 200, { status: 'ok', sandbox: true, counts });
    } else if (url.pathname.startsWith('/sandbox/')) {
      const controlled = { ...accounts, setKeyScenario, tokens: login.tokens, transport };
      const answer = answerControl(controlled, request.method ?? 'GET', url, await text());
      sendJson(response, answer.status, answer.body);
    } else if (
      !(await serveOz(request, response, url, text)) &&
      !(await login.serve(request, response, url, text)) &&
      !(await serveKeys(request, response, url, text))
    ) {
      sendJson(response, 404, { error: `the sandbox has no ${route}` });
    }
  };

  const certificate = tls === undefined ? undefined : await makeCertificate(host);
  const listeners = new Listeners(
    {
      host,
      ports: {
        ...(tls === 'only' ? {} : { plain: port }),
        ...(tls === undefined ? {} : { secure: tls === 'only' ? port : tlsPort }),
      },
      certificate,
      alpn: options.alpn ?? 'h2,http/1.1',
      maxConcurrentStreams: options.maxConcurrentStreams,
    },
    (request, response) => {
      serve(request, response).catch((error: unknown) => {
        // No client is left to answer, or the sandbox itself is at fault: never the whole process.
        if (response.headersSent || bodyOf(response).destroyed) breakOff(response);
        else
          send(
            response,
            refusal(500, `sandbox fault: ${error instanceof Error ? error.message : String(error)}`),
          );
      });
    },
  );
  const transport = new SandboxTransport(listeners, certificate);
  await listeners.start();
  const scheme = tls === 'only' ? 'https' : 'http';

  return {
    url: listeners.urlOf(scheme) ?? '',
    port: listeners.portOf(scheme) ?? 0,
    secureUrl: listeners.urlOf('https'),
    transport,
    turns,
    operations,
    counts: () => ({ ...counts }),
    setKeyScenario,
    setCredits: accounts.setCredits,
    setTeams: accounts.setTeams,
    setAvailability: accounts.setAvailability,
    tokens: login.tokens,
    keys,
    oz,
    setModels(list, bearer) {
      if (bearer === undefined) models = list ?? defaultModels;
      else if (list === undefined) modelsByAccount.delete(bearer);
      else modelsByAccount.set(bearer, list);
    },
    forgetConversations: () => chat.conversations.clear(),
    async close() {
      const closed = listeners.stop();
      pacer.close();
      await closed;
    },
  };
}

async function withBody(
  request: http.IncomingMessage,
  use: (body: Buffer) => Refusal | undefined | Promise<Refusal | undefined>,
): Promise<Refusal | undefined> {
  const body = await readBody(request);
  return Buffer.isBuffer(body) ? await use(body) : body;
}

async function bodyText(request: http.IncomingMessage): Promise<string> {
  const body = await readBody(request);
  return Buffer.isBuffer(body) ? body.toString('utf8') : '';
}

function bearerOf(request: http.IncomingMessage): string {
  return /^Bearer\s+(\S+)\s*$/i.exec(request.headers.authorization ?? '')?.[1] ?? '';
}

function jsonOf(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString('utf8'));
  } catch {
    return undefined;
  }
}

function send(response: http.ServerResponse, { status, headers, body }: Refusal): void {
  response.writeHead(status, headers).end(body);
}

function sendJson(response: http.ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}
