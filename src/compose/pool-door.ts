import type { FastifyInstance } from 'fastify';
import type { PoolDoor } from '../gateway/http/pool-door.ts';

/** Lets the pool's server of this process answer what came to the gateway, as if it had come to the pool's port. */
export async function insidePoolDoor(server: FastifyInstance): Promise<PoolDoor> {
  await server.ready();
  return (request, reply) => {
    reply.hijack();
    const { raw } = request;
    // The gateway's server has taken the headers of the body out.
    for (let at = 0; at < raw.rawHeaders.length; at += 2) {
      raw.headers[raw.rawHeaders[at]?.toLowerCase() ?? ''] ??= raw.rawHeaders[at + 1];
    }
    raw.headers['x-request-id'] = request.id;
    server.server.emit('request', raw, reply.raw);
  };
}
