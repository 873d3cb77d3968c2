import type { Dispatcher } from 'undici';
import { AppError } from '../../core/errors.ts';
import type { ImagePart, ImageUrlPart } from '../../core/turn.ts';
import { afterReading, type Clock } from '../../lib/clock.ts';
import type { BodyBudget, HeldBody } from '../../lib/http/body-budget.ts';
import type { LookupAll } from '../../lib/network/connector.ts';
import { createDirectDispatcher } from '../../lib/network/network.ts';
import { unsentIn } from '../../lib/network/transport-errors.ts';
import { readBytes } from '../../lib/read-bytes.ts';
import { createLimit } from '../../lib/tasks.ts';
import { request } from '../../lib/undici.ts';
import { imageTypeOf } from '../../protocols/shared/files.ts';

/** Fetches images that clients name by their address. */
export interface ImageFetcher {
  /** What the images of a client's turn count as, beside the bodies of all requests: their fetcher does not count. */
  hold(clientId: string): HeldBody;
  /**
   * `onBytes` hears how many bytes have arrived, as they do, and ends the fetch by throwing. Throws what it throws, AppError
   * `invalid_request` naming where the address stood, or the signal's own reason.
   */
  fetch(image: ImageUrlPart, signal: AbortSignal, onBytes: (count: number) => void): Promise<ImagePart>;
  close(): Promise<void>;
}

export interface ImageFetcherOptions {
  /** `host` or `host:port` as URLs spell them, without a final dot, that may lie in private networks. */
  readonly allowedHosts: readonly string[];
  readonly bodies: BodyBudget;
  readonly clock: Clock;
  readonly userAgent: string;
  readonly lookup?: LookupAll;
}

export const maxImageBytes = 10 * 1024 * 1024;
const timeLimitMs = 10_000;
const maxRedirects = 3;
const fetchesAtOnce = 16;

/**
 * What an address answered is never told to the client: only whether an image came of it. Nothing of the client's is sent
 * along, and every redirect is looked at like the first address.
 */
export function createImageFetcher(options: ImageFetcherOptions): ImageFetcher {
  const { clock, userAgent } = options;
  const allowed = new Set(options.allowedHosts);
  const { lookup } = options;
  const connecting = { timeoutMs: timeLimitMs, userAgent, ...(lookup && { lookup }) };
  const guarded = createDirectDispatcher(clock, { ...connecting, publicHosts: 'all' });
  const open = createDirectDispatcher(clock, connecting);
  const limit = createLimit(fetchesAtOnce);

  /** A bare host is allowed on the default ports alone. */
  function allows(url: URL): boolean {
    const hostname = url.hostname.replace(/\.$/, '');
    const port = url.port || (url.protocol === 'https:' ? '443' : '80');
    return allowed.has(`${hostname}:${port}`) || (url.port === '' && allowed.has(hostname));
  }

  async function follow(
    image: ImageUrlPart,
    signal: AbortSignal,
    onBytes: (count: number) => void,
  ): Promise<ImagePart> {
    let url = new URL(image.url);
    for (let redirects = 0; redirects <= maxRedirects; redirects += 1) {
      const isAllowed = allows(url);
      const fault = isAllowed ? undefined : faultOfAddress(url);
      if (fault !== undefined) throw refused(image, fault);
      const answer = await request(isAllowed ? open : guarded, url, {
        method: 'GET',
        signal,
        headers: { accept: 'image/png, image/jpeg, image/gif, image/webp', 'user-agent': userAgent },
      });
      const { location } = answer.headers;
      if (answer.statusCode < 300 || answer.statusCode > 399 || typeof location !== 'string') {
        return await readImage(image, answer, onBytes);
      }
      discard(answer);
      const next = URL.canParse(location, url) ? new URL(location, url) : undefined;
      if (next === undefined) break;
      url = next;
    }
    throw refused(image, 'leads on and on, and not to an image');
  }

  return {
    hold: (clientId) => options.bodies.begin(clientId),
    fetch(image, signal, onBytes) {
      return limit(async () => {
        signal.throwIfAborted();
        const timeout = new AbortController();
        const cancel = afterReading(clock, timeLimitMs, () => timeout.abort());
        try {
          return await follow(image, AbortSignal.any([signal, timeout.signal]), onBytes);
        } catch (cause) {
          signal.throwIfAborted();
          if (cause instanceof AppError) throw cause;
          if (timeout.signal.aborted) throw refused(image, 'took longer than 10 seconds', cause);
          if (addressFaults.has(unsentIn(cause)?.code ?? '')) throw refused(image, notPublic, cause);
          throw refused(image, 'could not be reached', cause);
        } finally {
          cancel();
        }
      });
    },
    async close() {
      for (const dispatcher of [guarded, open]) dispatcher.shut(new Error('The program stops.'));
    },
  };
}

/** The owner allowed a server, not whatever its name is made to lead to. */
const addressFaults: ReadonlySet<string> = new Set(['PRIVATE_ADDRESS', 'ODD_ADDRESS']);
const notPublic =
  'is not on the public internet; the operator of this gateway can allow its host (FETCH_IMAGES_ALLOW)';

function faultOfAddress(url: URL): string | undefined {
  if (url.protocol !== 'https:' && url.protocol !== 'http:') return 'is neither http nor https';
  if (url.username !== '' || url.password !== '') return 'holds a user name or a password';
  return url.port === '' ? undefined : 'names a port other than the default one';
}

async function readImage(
  image: ImageUrlPart,
  answer: Dispatcher.ResponseData,
  onBytes: (count: number) => void,
): Promise<ImagePart> {
  const { statusCode, headers, body } = answer;
  const isImage = statusCode === 200 && headers['content-encoding'] === undefined;
  if (!isImage || Number(headers['content-length'] ?? 0) > maxImageBytes) {
    discard(answer);
    throw refused(image, isImage ? tooLarge : notAnImage);
  }
  const bytes = await readBytes(body, maxImageBytes, () => refused(image, tooLarge), onBytes);
  const mediaType = imageTypeOf(bytes);
  if (mediaType === undefined) throw refused(image, notAnImage);
  return { type: 'image', mediaType, data: bytes.toString('base64') };
}

const notAnImage = 'does not answer with a PNG, JPEG, GIF or WebP image';
const tooLarge = 'answers with more than 10 MB';

/** Closes the connection without waiting for what is left to come. */
function discard({ body }: Dispatcher.ResponseData): void {
  body.on('error', () => {});
  body.destroy();
}

function refused({ param }: ImageUrlPart, reason: string, cause?: unknown): AppError {
  return new AppError('invalid_request', `${param}: the address ${reason}. Or send the image inline.`, {
    param,
    cause,
  });
}
