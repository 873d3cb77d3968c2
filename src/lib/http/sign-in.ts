import { createHash, createHmac, hkdfSync, randomBytes, timingSafeEqual } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import ipaddr from 'ipaddr.js';
import type { Clock } from '../clock.ts';
import { isOfOwnOrigin, shownKeys } from './callers.ts';
import { HttpFault } from './http-fault.ts';

export interface SignInOptions {
  /** What opens the service's admin page, and is exchanged for a cookie; without any the page needs none. */
  readonly keys: readonly string[];
  readonly clock: Pick<Clock, 'now' | 'monotonic'>;
  readonly onWrongKey: () => void;
}

interface Request {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
}

export interface Session {
  readonly csrf: string;
  readonly expiresAt: number;
}

/** What signs the cookies of one key: derived from it, so that every service with that key knows them. */
interface Signer {
  readonly key: string;
  readonly digest: Buffer;
  readonly secret: Buffer;
  readonly cookie: string;
}

interface Found extends Session {
  readonly signer: Signer;
  readonly begunAt: number;
  readonly renewedAt: number;
  readonly nonce: string;
}

const minuteMs = 60_000;
const idleMs = 8 * 60 * minuteMs;
const longestMs = 7 * 24 * 60 * minuteMs;
/** Browsers keep the cookie for longer than it is good: it tells one that was signed in from those that guess keys. */
const rememberedSeconds = 90 * 24 * 60 * 60;
/** A session that was renewed since is not written again. */
const renewAfterMs = minuteMs;
const mostSignedOut = 10_000;

const csrfHeader = 'x-warp2api-csrf';

/**
 * Sessions of the admin page. A session is a cookie that holds its times and a signature: nothing is stored, so it is good at
 * both services, at several gateways and after a restart. Another ADMIN_KEY ends all of them; signing out ends one at the
 * service where that is done.
 */
export class SignIn {
  readonly #signers: readonly Signer[];
  readonly #clock: SignInOptions['clock'];
  readonly #onWrongKey: () => void;
  readonly #attempts: Attempts;
  /** Of sessions that were signed out here, when they would have ended: a copy of their cookie opens nothing here. */
  readonly #signedOut = new Map<string, number>();

  constructor({ keys, clock, onWrongKey }: SignInOptions) {
    this.#signers = keys.map(signerOf);
    this.#clock = clock;
    this.#onWrongKey = onWrongKey;
    this.#attempts = new Attempts(() => clock.monotonic());
  }

  get needsKey(): boolean {
    return this.#signers.length > 0;
  }

  /** The session of a request, unless it has ended or a page of another origin sends it. */
  sessionOf(request: Request): Session | undefined {
    const found = this.#find(request);
    return found && isAlive(found, this.#clock.now()) && isOfOwnPage(request) ? found : undefined;
  }

  /**
   * The request as its key would have it, where a session takes the key's place: a request that shows a key goes by that
   * alone. Throws HttpFault for a write that does not show the session's token.
   */
  withKey<Keyed extends Request>(request: Keyed): Keyed | Pick<Request, 'headers' | 'url'> {
    const { headers, url, method } = request;
    if (headers.cookie === undefined || shownKeys(headers, url).length > 0) return request;
    const found = this.#find(request);
    if (!found || !isAlive(found, this.#clock.now())) return request;
    const isRead = method === 'GET' || method === 'HEAD';
    if (!isOfOwnPage(request) || !(isRead || isSame(String(headers[csrfHeader] ?? ''), found.csrf))) {
      throw new HttpFault(
        'foreign_origin',
        `Only the admin page of this service may use its session, and writes with it show the header ${csrfHeader}: load the page again. A proxy in front has to pass the header Host on.`,
      );
    }
    return { headers: { ...headers, authorization: `Bearer ${found.signer.key}` }, url };
  }

  /** A new session, and the cookie for it. Throws HttpFault for a wrong key, and while too many were tried. */
  begin(request: Request, address: string, key: string): { session: Session; cookie: string } {
    // A browser that has been signed in waits for no others: none of them can lock it out.
    const caller = this.#find(request)?.nonce ?? networkOf(address);
    this.#attempts.check(caller);
    const shown = digest(key);
    // Every key is compared, in constant time each.
    const signer = this.#signers.filter((one) => timingSafeEqual(one.digest, shown))[0];
    if (!signer) {
      this.#attempts.noteWrong(caller);
      this.#onWrongKey();
      throw new HttpFault('invalid_key', 'This is not the key that opens the admin page.');
    }
    this.#attempts.forget(caller);
    const now = this.#clock.now();
    return this.#write(signer, now, now, randomBytes(16).toString('base64url'), request);
  }

  /** The cookie of a session that goes on, if it is time to write it again. */
  renewed(request: Request): string | undefined {
    const found = this.#find(request);
    const now = this.#clock.now();
    if (!found || !isAlive(found, now) || now - found.renewedAt < renewAfterMs) return undefined;
    return this.#write(found.signer, found.begunAt, now, found.nonce, request).cookie;
  }

  /** Ends the session of a request; the answer are cookies that remove every one that it has here. */
  ended(request: Request): string[] {
    const found = this.#find(request);
    if (found) this.#signedOut.set(found.nonce, found.begunAt + longestMs);
    for (const [nonce, until] of this.#signedOut) {
      if (until > this.#clock.now() && this.#signedOut.size <= mostSignedOut) break;
      this.#signedOut.delete(nonce);
    }
    return this.#signers.map(({ cookie }) => `${cookie}=; Max-Age=0; ${attributesFor(request)}`);
  }

  #write(signer: Signer, begunAt: number, renewedAt: number, nonce: string, request: Request) {
    const text = [begunAt.toString(36), renewedAt.toString(36), nonce].join('.');
    const session = sessionFrom(signer, begunAt, renewedAt, nonce);
    const cookie = `${signer.cookie}=${text}.${sign(signer, 'session', text)}; Max-Age=${rememberedSeconds}; ${attributesFor(request)}`;
    return { session, cookie };
  }

  /** A session that was given out here, though it may have ended. */
  #find({ headers }: Request): Found | undefined {
    if (headers.cookie === undefined) return undefined;
    for (const signer of this.#signers) {
      const value = cookieIn(headers.cookie, signer.cookie);
      const [, text = '', begun = '', renewed = '', nonce = '', signature = ''] =
        /^(([0-9a-z]{1,11})\.([0-9a-z]{1,11})\.([\w-]{22}))\.([\w-]{43})$/.exec(value ?? '') ?? [];
      if (text === '' || !isSame(signature, sign(signer, 'session', text))) continue;
      if (this.#signedOut.has(nonce)) continue;
      const begunAt = Number.parseInt(begun, 36);
      const renewedAt = Number.parseInt(renewed, 36);
      return { signer, begunAt, renewedAt, nonce, ...sessionFrom(signer, begunAt, renewedAt, nonce) };
    }
    return undefined;
  }
}

function sessionFrom(signer: Signer, begunAt: number, renewedAt: number, nonce: string): Session {
  const expiresAt = Math.min(renewedAt + idleMs, begunAt + longestMs);
  return { csrf: sign(signer, 'csrf', nonce), expiresAt };
}

const isAlive = ({ expiresAt }: Session, now: number): boolean => now < expiresAt;

function signerOf(key: string): Signer {
  const secret = Buffer.from(hkdfSync('sha256', key, '', 'warp2api admin page session', 32));
  // Services with other keys on the same host have cookies of other names: one sign-in does not end the other.
  const name = createHmac('sha256', secret).update('name').digest('hex').slice(0, 8);
  return { key, digest: digest(key), secret, cookie: `warp2api_${name}` };
}

function sign({ secret }: Signer, use: 'session' | 'csrf', text: string): string {
  return createHmac('sha256', secret).update(`${use} ${text}`).digest('base64url');
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

function isSame(shown: string, known: string): boolean {
  return timingSafeEqual(digest(shown), digest(known));
}

function cookieIn(header: string, name: string): string | undefined {
  const pairs = header.split(';').map((pair) => pair.trim());
  return pairs.find((pair) => pair.startsWith(`${name}=`))?.slice(name.length + 1);
}

/**
 * `Secure` where the browser itself says that the page came over https: a proxy ends TLS, and its headers say what anyone
 * writes into them. Over plain http from another machine the cookie is as open as the key that was just typed.
 */
function attributesFor({ headers }: Request): string {
  const isHttps = headers.origin?.startsWith('https://') === true || isTrustworthyFetch(headers);
  return `Path=/; HttpOnly; SameSite=Strict${isHttps ? '; Secure' : ''}`;
}

/** Whether the page came by https: browsers leave `Sec-Fetch-Site` out otherwise, but for this machine. */
function isTrustworthyFetch({ host = '', ...headers }: IncomingHttpHeaders): boolean {
  const name = host.replace(/:\d+$/, '');
  const isHere = /^(localhost|.*\.localhost|127(\.\d+){3}|\[::1\])$/i.test(name);
  return headers['sec-fetch-site'] !== undefined && !isHere;
}

/** Whether a request comes from a page of the same host and port, or from no page at all. */
function isOfOwnPage({ method, headers }: Request): boolean {
  const site = headers['sec-fetch-site'];
  if (site !== undefined) return site === 'same-origin' || (site === 'none' && method === 'GET');
  // Browsers leave it out over plain http.
  return isOfOwnOrigin(headers);
}

/** The network of an address: a caller with an IPv6 address has 2^64 of them. */
function networkOf(address: string): string {
  if (!ipaddr.isValid(address)) return address;
  const plain = ipaddr.process(address);
  return plain instanceof ipaddr.IPv6 ? plain.parts.slice(0, 4).join(':') : plain.toString();
}

interface Tried {
  readonly wrong: number;
  readonly openAt: number;
  readonly at: number;
}

const freeAttempts = 5;
const freeInAll = 60;
const longestWaitMs = minuteMs;
const forgottenAfterMs = 15 * minuteMs;
const mostCallers = 10_000;

/** Slows down guessing: of each network, and of all that were never signed in together. */
class Attempts {
  readonly #now: () => number;
  readonly #byCaller = new Map<string, Tried>();
  #inAll: Tried = { wrong: 0, openAt: 0, at: 0 };

  constructor(now: () => number) {
    this.#now = now;
  }

  /** Throws HttpFault. */
  check(caller: string): void {
    const waits = [this.#of(caller).openAt, isBrowser(caller) ? 0 : this.#inAll.openAt];
    const waitMs = Math.max(...waits) - this.#now();
    if (waitMs <= 0) return;
    throw new HttpFault('too_many_attempts', 'Too many wrong keys were tried: try again later.', {
      retryAfterMs: waitMs,
    });
  }

  noteWrong(caller: string): void {
    const now = this.#now();
    const wrong = this.#of(caller).wrong + 1;
    const waitMs = wrong < freeAttempts ? 0 : Math.min(1_000 * 2 ** (wrong - freeAttempts), longestWaitMs);
    this.#byCaller.delete(caller);
    this.#byCaller.set(caller, { wrong, openAt: now + waitMs, at: now });
    const [oldest] = this.#byCaller.keys();
    if (this.#byCaller.size > mostCallers && oldest !== undefined) this.#byCaller.delete(oldest);
    if (isBrowser(caller)) return;
    const recent = now - this.#inAll.at > minuteMs ? 0 : this.#inAll.wrong;
    this.#inAll = { wrong: recent + 1, openAt: recent < freeInAll ? 0 : now + 1_000, at: now };
  }

  forget(caller: string): void {
    this.#byCaller.delete(caller);
  }

  #of(caller: string): Tried {
    const tried = this.#byCaller.get(caller);
    const isOld = tried !== undefined && this.#now() - tried.at > forgottenAfterMs;
    return tried === undefined || isOld ? { wrong: 0, openAt: 0, at: 0 } : tried;
  }
}

/** A session's nonce and no address. */
const isBrowser = (caller: string): boolean => /^[\w-]{22}$/.test(caller);
