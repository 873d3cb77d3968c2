import { Agent, type IncomingMessage, request } from 'node:http';
import { expect, it, vi } from 'vitest';
import { createHttpServer } from './http-server.ts';
import { createLogger } from './logger.ts';

it('closes soon after its last answer, although the client keeps the connection', async () => {
  const app = createHttpServer({
    logger: createLogger('fatal'),
    bodyLimitBytes: 1024,
    allowedHosts: null,
    encodeUnreadable: () => '',
  });
  let finish = () => {};
  app.get('/slow', (_request, reply) => {
    reply.hijack();
    reply.raw.write('begun');
    finish = () => reply.raw.end();
  });
  const address = new URL(await app.listen({ host: '127.0.0.1', port: 0 }));
  const agent = new Agent({ keepAlive: true });
  const answer = await new Promise<IncomingMessage>((resolve, reject) => {
    request(new URL('/slow', address), { agent }, resolve).on('error', reject).end();
  });
  const closed = app.close();
  await vi.waitFor(() => expect(app.server.listening).toBe(false));
  finish();
  for await (const _ of answer);
  await closed;
  agent.destroy();
}, 5_000);
