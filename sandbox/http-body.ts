// Reads a request body within limits.
import type { IncomingMessage } from 'node:http';
import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import { type Refusal, refusal } from './faults.ts';

const maximumBodyBytes = 32 * 1024 * 1024;

const unzip = promisify(gunzip);
const tooLarge = refusal(413, 'sandbox: the body is larger than 32 MB', { connection: 'close' });

/** The body, unzipped where it is gzip; or the refusal to answer with: 413 too large, 400 not gzip,
 *  415 any other encoding. Rejects when the client goes away in between. */
export async function readBody(request: IncomingMessage): Promise<Buffer | Refusal> {
  if (Number(request.headers['content-length'] ?? 0) > maximumBodyBytes) return tooLarge;
  const chunks: Buffer[] = [];
  let length = 0;
  // Not `for await`: leaving such a loop early would destroy the connection the refusal goes out on.
  const isComplete = await new Promise<boolean>((resolve, reject) => {
    request.on('data', (chunk: Buffer) => {
      length += chunk.length;
      if (length <= maximumBodyBytes) chunks.push(chunk);
      else resolve(false);
    });
    request.on('end', () => resolve(true));
    request.on('error', reject);
    request.on('close', () => reject(new Error('the client left before its request was complete')));
  });
  if (!isComplete) return tooLarge;
  // The listeners stay with the connection for as long as that is remembered; the pieces are not to.
  const body = Buffer.concat(chunks.splice(0));
  const encoding = request.headers['content-encoding'] ?? 'identity';
  if (encoding === 'identity') return body;
  if (encoding !== 'gzip') return refusal(415, `sandbox: content-encoding ${encoding} is not known`);
  try {
    return await unzip(body, { maxOutputLength: maximumBodyBytes });
  } catch (error) {
    const isTooLong = (error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE';
    return isTooLong ? tooLarge : refusal(400, 'sandbox: the body is not gzip');
  }
}
