import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { isLoopbackHost } from '../addresses/loopback.ts';
import type { Clock } from '../clock.ts';
import { type Logger, onceAMinute } from '../log/logger.ts';
import { shortened } from '../shown-text.ts';
import { HttpFault } from './http-fault.ts';

/** Who may call a service, by the Host and the Origin that a request names. */
export interface CallerRules {
  /**
   * Names a request's Host and Origin may carry, besides the loopback ones; null switches the check off.
   * Without keys this check is what keeps a web page from using the owner's browser to reach the service.
   */
  readonly allowedHosts: readonly string[] | null;
  /** The setting whose keys would make the check of names needless. */
  readonly keysSetting: 'API_KEYS' | 'ADMIN_KEY';
  /** Web pages and apps that may read answers; absent where the service has no such setting. */
  readonly cors?: CorsRules | undefined;
}

export interface CorsRules {
  /** CORS_ORIGINS: origins, `*` for any of them or for any part of one. */
  readonly origins: readonly string[];
  /** Headers of answers that a page may read. */
  readonly exposedHeaders: readonly string[];
}

/** For how long a browser may remember the answer; no browser does so for longer. */
const preflightSeconds = 7200;

/** A list of header names, as browsers send it; anything else is not repeated in the answer. */
const headerNames = /^[\w!#$%&'*+.^`|~-]{1,128}(?: ?, ?[\w!#$%&'*+.^`|~-]{1,128}){0,63}$/;

export function createCallers({ allowedHosts, keysSetting, cors }: CallerRules) {
  const names = allowedHosts && new Set(allowedHosts.map((name) => name.toLowerCase()));
  const isKnownName = (name: string): boolean => isLoopbackHost(name) || names?.has(name) === true;
  const isListed = matcherOf(cors?.origins ?? []);
  const isOpen = cors?.origins.includes('*') === true;
  const exposed = { 'access-control-expose-headers': cors?.exposedHeaders.join(', ') ?? '' };

  /** What lets the caller's page or app read the answer, whatever it will be. */
  function corsHeaders({ origin }: IncomingHttpHeaders): Readonly<Record<string, string>> {
    if (cors === undefined || cors.origins.length === 0) return {};
    if (isOpen) return { 'access-control-allow-origin': '*', ...exposed, vary: 'Origin' };
    if (origin === undefined || !isListed(origin)) return { vary: 'Origin' };
    return {
      'access-control-allow-origin': origin,
      // A page that sends cookies may read the answer only so; that of the admin page counts for its own service alone.
      ...(origin === 'null' ? {} : { 'access-control-allow-credentials': 'true' }),
      ...exposed,
      vary: 'Origin',
    };
  }

  return {
    corsHeaders,

    /** Throws HttpFault for a Host or an Origin that is not allowed. */
    check({ host, origin }: IncomingHttpHeaders): void {
      if (names === null) return;
      const name = nameIn(host);
      if (!isKnownName(name)) throw foreignHost(name, host, keysSetting);
      if (origin === undefined || isListed(origin) || isKnownName(nameOfOrigin(origin))) return;
      throw foreignOrigin(origin, keysSetting, cors);
    },

    /** The further headers of the answer to a browser's preflight request; undefined for other requests. Throws HttpFault. */
    preflight(method: string, headers: IncomingHttpHeaders): Readonly<Record<string, string>> | undefined {
      const { origin } = headers;
      const askedMethod = headers['access-control-request-method'];
      if (cors === undefined || method !== 'OPTIONS') return undefined;
      if (origin === undefined || askedMethod === undefined) return undefined;
      if (!isListed(origin)) throw foreignOrigin(origin, keysSetting, cors);
      const askedHeaders = headers['access-control-request-headers'];
      return {
        'access-control-allow-methods': 'GET, HEAD, POST, PUT, PATCH, DELETE',
        ...(askedHeaders !== undefined && headerNames.test(askedHeaders)
          ? { 'access-control-allow-headers': askedHeaders }
          : {}),
        ...(headers['access-control-request-private-network'] === 'true'
          ? { 'access-control-allow-private-network': 'true' }
          : {}),
        'access-control-max-age': String(preflightSeconds),
        vary: 'Origin, Access-Control-Request-Method, Access-Control-Request-Headers',
      };
    },
  };
}

/** A request has to name one host (RFC 9112, section 3.2): with two, a proxy and this service could mean different ones. */
export function checkHost({ rawHeaders, httpVersion }: IncomingMessage): void {
  let count = 0;
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at];
    if (name?.length === 4 && name.toLowerCase() === 'host') count += 1;
  }
  if (count === 1 || (count === 0 && httpVersion === '1.0')) return;
  const fault = count === 0 ? 'The request names no host' : 'The request names more than one host';
  throw new HttpFault('invalid_request', `${fault}: send one header Host with the name of this service.`);
}

/** Where the client found the service, also through a proxy that says so. */
export function addressSeen({ headers }: { readonly headers: IncomingHttpHeaders }): string {
  const first = (name: string): string => /^[^,]*/.exec(String(headers[name] ?? ''))?.[0].trim() ?? '';
  const scheme = first('x-forwarded-proto') === 'https' ? 'https' : 'http';
  const address = `${scheme}://${first('x-forwarded-host') || headers.host}`;
  return URL.canParse(address) ? new URL(address).origin : 'http://localhost';
}

/** The name in a Host header, without its port; empty where there is none. */
function nameIn(host: string | undefined): string {
  if (host === undefined || /[/@?#\\]/.test(host) || !URL.canParse(`http://${host}`)) return '';
  return new URL(`http://${host}`).hostname.replace(/\.$/, '');
}

/** Whether a request comes from a page of the same host and port, or from no page. */
export function isOfOwnOrigin({ host, origin }: IncomingHttpHeaders): boolean {
  return origin === undefined || (URL.canParse(origin) && new URL(origin).host === host);
}

function nameOfOrigin(origin: string): string {
  return URL.canParse(origin) ? new URL(origin).hostname.toLowerCase() : '';
}

/** `*` matches any origin, or within one any part of its host and port. */
function matcherOf(origins: readonly string[]): (origin: string) => boolean {
  const patterns = origins.map((origin) => {
    if (origin === '*') return /^/;
    const parts = origin.replace(/:\*$/, '').split('*').map(RegExp.escape);
    // Browsers leave a scheme's own port out.
    const port = origin.endsWith(':*') ? '(:\\d+)?' : '';
    return new RegExp(`^${parts.join('[^/]*')}${port}$`, 'i');
  });
  return (origin) => patterns.some((pattern) => pattern.test(origin));
}

/** Short enough for a log or a message. */
const shown = (text: string): string => shortened(text, 100);

function foreignHost(name: string, host: string | undefined, keysSetting: string): HttpFault {
  const fault = host ? `The header Host, "${shown(host)}", is no host name` : 'The request names no host';
  return new HttpFault(
    'foreign_host',
    name === ''
      ? `${fault}: send the header Host with the name of this service, or set ${keysSetting}.`
      : `This service does not answer to the name "${shown(name)}": add ${shown(name)} to ALLOWED_HOSTS, or set ${keysSetting}.`,
  );
}

function foreignOrigin(origin: string, keysSetting: string, cors: CorsRules | undefined): HttpFault {
  const caller =
    origin === 'null'
      ? 'A page that names no origin, such as one opened from a file ("null"),'
      : `A page or app of the origin ${shown(origin)}`;
  const advice =
    cors === undefined
      ? `it takes no calls from web pages; other programs leave the header Origin out, or show ${keysSetting} once that is set`
      : origin === 'null'
        ? 'add null to CORS_ORIGINS, which lets in every page without an origin; better serve the page over http://localhost'
        : `add ${shown(origin)} to CORS_ORIGINS`;
  return new HttpFault('foreign_origin', `${caller} may not call this service: ${advice}.`);
}

const keyHeaders = ['x-api-key', 'x-goog-api-key', 'api-key'];

/** There are five places for a key, but a header has room for thousands, and each is hashed. */
const mostShown = 16;

/**
 * All keys that a request holds, in any of the usual places. Clients fill some of the places with an empty or invented key,
 * so none of them has precedence.
 */
export function shownKeys(headers: IncomingHttpHeaders, url: string): readonly string[] {
  // Some people write "Bearer" into their client's field for the key.
  const bearer = /^(?:Bearer +)+(\S+) *$/i.exec(headers.authorization ?? '')?.[1];
  const given = bearer === undefined ? [] : [bearer];
  for (const name of keyHeaders) {
    const value = headers[name];
    if (value !== undefined) given.push(...String(value).split(','));
  }
  if (url.includes('?')) given.push(...new URLSearchParams(url.slice(url.indexOf('?') + 1)).getAll('key'));
  // Nearly every request.
  if (bearer !== undefined && given.length === 1) return given;
  const shown = given.map((key) => key.trim()).filter((key) => key !== '');
  return shown.length < 2 ? shown : [...new Set(shown)].slice(0, mostShown);
}

/** Logs requests with wrong keys, so that guessing is noticed. */
export function createWrongKeyLog(logger: Logger, clock: Pick<Clock, 'monotonic'>): () => void {
  return onceAMinute(clock, (requests) =>
    logger.warn({ requests }, 'requests with a wrong key were refused'),
  );
}
