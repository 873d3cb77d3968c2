import type { Route } from '../../lib/api/api-routes.ts';
import type { PoolService } from '../create-pool.ts';

/** Lends, unless the client goes away before it has its answer: then all that was added goes back. */
export const allocate: Route<{ readonly pool: PoolService }>['handle'] = async ({ pool }, request, reply) => {
  const gone = new AbortController();
  let undo: (() => Promise<void>) | undefined;
  const onClose = (): void => {
    if (reply.raw.writableFinished) return;
    gone.abort(new Error('the client has gone'));
    undo?.().catch((error: unknown) => {
      request.log.error({ err: error, request_id: request.id }, 'leases could not be given back');
    });
  };
  if (reply.raw.closed) onClose();
  else reply.raw.once('close', onClose);
  try {
    const allocation = await pool.allocate(request.keyHolder, request.body, gone.signal);
    if (gone.signal.aborted) await allocation.undo();
    else undo = allocation.undo;
    return allocation.answer;
  } catch (error) {
    // The client has left; without a body there is nothing to fail on.
    if (gone.signal.aborted) return reply.hijack();
    throw error;
  }
};
