import { AppError } from '../../core/errors.ts';
import type { Route } from '../../lib/api/api-routes.ts';
import type { EventStreams } from '../../lib/api/event-streams.ts';
import type { PoolDoor } from './pool-door.ts';

/** What the routes that are the pool's answer from. */
export interface PoolRoutesService {
  readonly poolDoor: PoolDoor;
  readonly streams: EventStreams;
}

/** They lend what is secret to programs that borrow; these call the pool itself. */
const forBorrowers = new Set(['allocate', 'report']);

const passed = [
  ['GET', '/api/accounts'],
  ['POST', '/api/accounts'],
  ['GET', '/api/accounts/{id}'],
  ['POST', '/api/accounts/{id}'],
  ['PATCH', '/api/accounts/{id}'],
  ['DELETE', '/api/accounts/{id}'],
  ['POST', '/api/logins'],
  ['GET', '/api/logins/{id}'],
  ['POST', '/api/logins/{id}'],
  ['DELETE', '/api/logins/{id}'],
  ['GET', '/api/logins'],
  ['GET', '/api/sessions'],
  ['GET', '/api/audit'],
] as const;

/** What the admin page needs of the pool, at the gateway as well: with the caller's own key. */
export const poolRoutes: readonly Route<PoolRoutesService>[] = [
  ...passed.map(
    ([method, path]): Route<PoolRoutesService> => ({
      method,
      path,
      summary: 'As at the pool, which answers it',
      access: 'strictAdminKey',
      // The pool reads it, within its own limits.
      takesBody: false,
      answers: { 200: { description: 'The answer of the pool.', contentType: 'application/json' } },
      handle({ poolDoor }, request, reply) {
        if (forBorrowers.has(request.params.id)) {
          throw new AppError(
            'not_found',
            'Accounts are lent by the pool itself: call it at its own address.',
          );
        }
        return poolDoor(request, reply);
      },
    }),
  ),
  {
    method: 'GET',
    path: '/api/events',
    summary: 'What happens at the gateway and in the pool, as server-sent events',
    description:
      'Each event is a JSON object: those of the pool, `turn-began` and `turn-ended`, `key-near-limit` where a client key has used 80 or 100 % of a budget, and `figures` every second. ' +
      '`Last-Event-ID` resumes after an event of the pool, as long as it is known; `reset` says that some were missed.',
    access: 'adminKey',
    answers: {
      200: { description: 'The events, until the reader leaves.', contentType: 'text/event-stream' },
    },
    handle: ({ streams }, request, reply) => streams.open(request, reply, 'page'),
  },
];
