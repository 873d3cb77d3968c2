import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';

const [lowest, highest] = [20_000, 32_000] as const;
/** One after the other from anywhere, so that no two tests of a process get the same. */
let next = randomInt(lowest, highest);

/**
 * A port of this machine on which nothing listens. It is below those that the system hands out (32768 and up on Linux),
 * so that no other connection takes it before it is used.
 */
export async function findFreePort(): Promise<number> {
  for (;;) {
    const port = next;
    next = port + 1 < highest ? port + 1 : lowest;
    const server = createServer();
    const isFree = await new Promise<boolean>((resolve) => {
      server.once('error', () => resolve(false));
      server.listen(port, '127.0.0.1', () => resolve(true));
    });
    if (!isFree) continue;
    await new Promise((resolve) => server.close(resolve));
    return port;
  }
}
