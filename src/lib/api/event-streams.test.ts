import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { expect, it } from 'vitest';
import { createManualClock } from '../../gateway/testing/manual-clock.ts';
import { EventFeed, EventStreams } from './event-streams.ts';

it('keeps no place for a reader that had left before', async () => {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const streams = new EventStreams(new EventFeed(), createManualClock(), () => undefined, 1);
  async function open(hasLeft: boolean): Promise<ServerResponse> {
    const socket = connect(port, '127.0.0.1');
    socket.on('error', () => {});
    socket.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n');
    const [, response] = (await once(server, 'request')) as [unknown, ServerResponse];
    if (hasLeft) {
      socket.destroy();
      await once(response, 'close');
    }
    const reply = { raw: response, hijack() {} } as unknown as FastifyReply;
    streams.open({ id: 'r', headers: {} } as unknown as FastifyRequest, reply, 'key');
    return response;
  }
  await open(true);
  const shown = await open(false);
  expect(shown.headersSent).toBe(true);
  await expect(open(false)).rejects.toThrow('Too many programs');
  streams.close();
  server.closeAllConnections();
  server.close();
});
