import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';

/** Below the ports that the system hands out (32768 and up on Linux), so that no other connection takes one before it is used. */
const [lowest, highest] = [20_000, 32_000] as const;
/** Tests that run at the same time look for theirs in a part of their own. */
const parts = 8;
const part = (Number(process.env['VITEST_POOL_ID'] ?? 1) - 1) % parts;
const size = (highest - lowest) / parts;
/** One after the other from anywhere, so that no two tests of a process get the same. */
let next = randomInt(size);

/** A port of this machine on which nothing listens, under either of the addresses of localhost. */
export async function findFreePort(): Promise<number> {
  for (;;) {
    const port = lowest + part * size + next;
    next = (next + 1) % size;
    if ((await isFree(port, '127.0.0.1')) && (await isFree(port, '::1'))) return port;
  }
}

function isFree(port: number, host: string): Promise<boolean> {
  const server = createServer();
  return new Promise((resolve) => {
    // A machine without IPv6 has no such address.
    server.once('error', ({ code }: NodeJS.ErrnoException) => resolve(code !== 'EADDRINUSE'));
    server.listen(port, host, () => server.close(() => resolve(true)));
  });
}
