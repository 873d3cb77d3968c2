// The login side of the sandbox: token endpoints with their faults, the person's page, and the controls over HTTP.
import type { IncomingMessage, ServerResponse } from 'node:http';
import { devicePage } from './device-page.ts';
import { createDevices, type Device, type DeviceSettings } from './devices.ts';
import { createTokenAccounts, type TokenAccount, type TokenSettings } from './token-accounts.ts';
import { createTokenEndpoints, isCall, type TokenRequest, tokenPaths } from './token-endpoints.ts';
import { type Answer, createFaults, type Fault, playFault } from './token-faults.ts';

/** What tests do with accounts that log in. */
export interface SandboxTokens {
  /** Changes how tokens are made and how devices are asked to wait. */
  set(settings: Partial<TokenSettings> & { readonly device?: Partial<DeviceSettings> }): void;
  /** An account with a refresh token, or another refresh token for one that exists. */
  addAccount(given?: { readonly email?: string; readonly refreshToken?: string }): {
    readonly id: string;
    readonly email: string;
    readonly refreshToken: string;
  };
  /** A bearer for an account without a refresh. Throws when there is no such account. */
  mint(idOrEmail: string): string;
  /** Whether a bearer minted here is good now. */
  accepts(bearer: string): boolean;
  /** Ends bearers before their time: one, or all of an account. */
  revoke(what: { readonly bearer: string } | { readonly account: string }): void;
  /** Ends an account's refresh tokens; its bearers stay good. */
  revokeRefreshTokens(idOrEmail: string): void;
  /** Closes an account, or with null opens it again. */
  close(idOrEmail: string, how: TokenAccount['closed']): void;
  /** Orders a failure for the next calls. */
  fail(fault: Fault): void;
  clearFaults(): void;
  /** Moves the clock by which bearers and codes expire. */
  advance(seconds: number): void;
  /** The person's decision; false when nothing waits under this code. */
  decide(userCode: string, decision: 'approve' | 'deny', email?: string): boolean;
  devices(): Device[];
  account(idOrEmail: string): Readonly<TokenAccount> | undefined;
  stats(): TokenStats;
}

export interface TokenStats {
  /** Calls of the token paths. */
  readonly calls: number;
  /** Requests for a refresh, and those of them that were executed. */
  readonly asked: number;
  readonly issued: number;
  /** Refresh tokens that belong to nobody. */
  readonly unknown: number;
  /** Refresh tokens used again after they had been replaced. */
  readonly misuse: number;
  /** The most refreshes one account got within any window. */
  readonly maxIssuedPerWindow: number;
  /** Device polls that came within the interval. */
  readonly pollsTooSoon: number;
  /** User-Agent of the last call. */
  readonly lastUserAgent: string | null;
  /** Headers by which a caller claimed to be the official client. */
  readonly forbiddenHeaders: number;
}

export interface TokenServer {
  readonly tokens: SandboxTokens;
  /** As TokenAccounts.identityOf. */
  identityOf(bearer: string): string | null | undefined;
  /** Answers a request that is of its paths; false for any other. `readText` reads the body, once. */
  serve(
    request: IncomingMessage,
    response: ServerResponse,
    url: URL,
    readText: () => Promise<string>,
  ): Promise<boolean>;
  /** The fault ordered for a path that is none of the token paths. */
  takeFault(path: string, identity: string): Fault | undefined;
}

export function createTokenServer(): TokenServer {
  let offsetMs = 0;
  const now = (): number => Date.now() + offsetMs;
  const accounts = createTokenAccounts(now);
  const devices = createDevices(now);
  const endpoints = createTokenEndpoints(accounts, devices, now);
  const paths: ReadonlySet<string> = new Set(tokenPaths);
  const faults = createFaults(paths);
  const counts = { calls: 0, asked: 0, unknown: 0, forbiddenHeaders: 0 };
  let lastUserAgent: string | null = null;

  const mustFind = (idOrEmail: string): TokenAccount => {
    const account = accounts.find(idOrEmail);
    if (account === undefined) throw new Error(`the sandbox has no account "${idOrEmail}"`);
    return account;
  };

  const tokens: SandboxTokens = {
    set({ device, ...settings }) {
      Object.assign(accounts.settings, settings);
      Object.assign(devices.settings, device);
    },
    addAccount(given) {
      const { account, refreshToken } = accounts.logIn(given);
      return { id: account.id, email: account.email, refreshToken };
    },
    mint: (idOrEmail) => accounts.mint(mustFind(idOrEmail)),
    accepts: (bearer) => typeof accounts.identityOf(bearer) === 'string',
    revoke(what) {
      if ('bearer' in what) accounts.revokeBearer(what.bearer);
      else accounts.revokeBearers(mustFind(what.account));
    },
    revokeRefreshTokens: (idOrEmail) => accounts.revokeRefreshTokens(mustFind(idOrEmail)),
    close(idOrEmail, how) {
      mustFind(idOrEmail).closed = how;
    },
    fail: faults.add,
    clearFaults: faults.clear,
    advance(seconds) {
      offsetMs += seconds * 1_000;
    },
    decide: devices.decide,
    devices: devices.all,
    account: accounts.find,
    stats() {
      const all = accounts.all();
      const sum = (value: (account: TokenAccount) => number): number =>
        all.reduce((total, account) => total + value(account), 0);
      return {
        ...counts,
        lastUserAgent,
        issued: sum((account) => account.issued),
        misuse: sum((account) => account.misuse),
        maxIssuedPerWindow: all.reduce((most, one) => Math.max(most, one.maxIssuedPerWindow), 0),
        pollsTooSoon: devices.all().reduce((total, device) => total + device.pollsTooSoon, 0),
      };
    },
  };

  const serveToken = async (
    request: IncomingMessage,
    response: ServerResponse,
    url: URL,
    text: string,
  ): Promise<void> => {
    counts.calls += 1;
    lastUserAgent = request.headers['user-agent'] ?? null;
    if (Object.keys(request.headers).some((name) => name.startsWith('x-warp-'))) counts.forbiddenHeaders += 1;
    const say = (answer: Answer): void => sendAnswer(response, answer);
    const fault = (names: readonly string[]) => faults.take(url.pathname, names);
    if (request.method !== 'POST') return say({ status: 405, body: { error: 'POST only' } });
    const call = endpoints.read(tokenRequest(request, url, text));
    if (!isCall(call)) return say(call);
    const { account } = call;
    if (call.isRefresh) {
      counts.asked += 1;
      if (account === undefined) counts.unknown += 1;
      else account.asked += 1;
    }
    const met = fault(account === undefined ? [] : [account.id, account.email]);
    if (met === undefined) return say(call.execute());
    await playFault(met, response, { execute: call.execute, refuse: call.refuse, say });
  };

  const serveDevice = (request: IncomingMessage, response: ServerResponse, url: URL, text: string): void => {
    const userCode = url.searchParams.get('user_code') ?? '';
    if (request.method !== 'POST') {
      const message = userCode === '' ? 'Type the code that your device shows.' : 'Is this your device?';
      sendPage(response, 200, devicePage(userCode, devices.find(userCode), message));
      return;
    }
    const form = new URLSearchParams(text);
    const code = form.get('user_code') ?? '';
    const decision = form.get('action') === 'approve' ? 'approve' : 'deny';
    const isDone = devices.decide(code, decision, form.get('email') || undefined);
    const word = decision === 'approve' ? 'approved' : 'denied';
    const message = isDone ? `The device is ${word}.` : 'No device waits under this code.';
    sendPage(response, isDone ? 200 : 404, devicePage(code, undefined, message));
  };

  return {
    tokens,
    identityOf: accounts.identityOf,
    takeFault: (path, identity) => {
      const account = accounts.find(identity);
      return faults.take(path, account === undefined ? [identity] : [account.id, account.email]);
    },
    async serve(request, response, url, readText) {
      if (paths.has(url.pathname)) {
        await serveToken(request, response, url, await readText());
      } else if (url.pathname === '/device') {
        serveDevice(request, response, url, await readText());
      } else return false;
      return true;
    },
  };
}

function tokenRequest(request: IncomingMessage, url: URL, text: string): TokenRequest {
  const isForm = request.headers['content-type']?.startsWith('application/x-www-form-urlencoded') ?? false;
  return {
    path: url.pathname,
    key: url.searchParams.get('key'),
    form: new URLSearchParams(isForm ? text : ''),
    authorization: request.headers.authorization,
    origin: `http://${request.headers.host ?? '127.0.0.1'}`,
  };
}

function sendAnswer(response: ServerResponse, { status, body, headers }: Answer): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body));
}

function sendPage(response: ServerResponse, status: number, html: string): void {
  response.writeHead(status, { 'content-type': 'text/html; charset=utf-8' }).end(html);
}
