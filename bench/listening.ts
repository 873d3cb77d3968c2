import type { Server } from 'node:net';

/** Listens at a free port and says so on a line that `programs.ts` waits for; ends at SIGTERM. */
export function listen(server: Server, name: string): void {
  server.listen(0, '127.0.0.1', () => {
    const address = server.address();
    const port = typeof address === 'object' ? address?.port : undefined;
    console.log(JSON.stringify({ url: `http://127.0.0.1:${port}`, msg: `the ${name} listens` }));
  });
  process.on('SIGTERM', () => process.exit());
}
