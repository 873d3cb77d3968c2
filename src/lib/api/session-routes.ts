import type { FastifyReply } from 'fastify';
import { z } from 'zod';
import { HttpFault } from '../http/http-fault.ts';
import type { Session, SignIn } from '../http/sign-in.ts';
import { version } from '../version.ts';
import type { Route } from './api-routes.ts';

/** What the routes for signing in at the admin page answer from. */
export interface SessionService {
  readonly signIn: SignIn;
}

export const sessionKey = z.strictObject({ key: z.string().max(4096) });

export const sessionAnswer = z.object({
  service: z.enum(['gateway', 'pool']),
  version: z.string(),
  /** `open`: the page needs no key here. */
  state: z.enum(['open', 'signed_in', 'signed_out']),
  /** What writes with the session's cookie show as `x-warp2api-csrf`. */
  csrf: z.string().optional(),
  /** When the session ends if the page is left alone. */
  expires_at: z.iso.datetime().optional(),
});
export type SessionAnswer = z.infer<typeof sessionAnswer>;

export function sessionRoutes<Service extends SessionService>(
  service: SessionAnswer['service'],
): readonly Route<Service>[] {
  const answer = { 200: { description: 'Who is signed in.', body: sessionAnswer } };
  function shown(signIn: SignIn, session: Session | undefined, reply: FastifyReply): SessionAnswer {
    reply.header('cache-control', 'no-store');
    if (!signIn.needsKey) return { service, version, state: 'open' };
    if (!session) return { service, version, state: 'signed_out' };
    const { csrf, expiresAt } = session;
    return { service, version, state: 'signed_in', csrf, expires_at: new Date(expiresAt).toISOString() };
  }
  return [
    {
      method: 'GET',
      path: '/api/session',
      summary: 'Whether a browser is signed in at the admin page; keeps its session alive',
      access: 'open',
      answers: answer,
      handle({ signIn }, request, reply) {
        const session = signIn.sessionOf(request);
        const cookie = session && signIn.renewed(request);
        if (cookie !== undefined) reply.header('set-cookie', cookie);
        return shown(signIn, session, reply);
      },
    },
    {
      method: 'POST',
      path: '/api/session',
      summary: 'Sign in at the admin page: the key for a cookie',
      description:
        'The cookie opens what the key opens, from pages of this service alone. Wrong keys are answered more and more slowly.',
      access: 'open',
      body: sessionKey,
      bodyLimit: 16 * 1024,
      answers: answer,
      handle({ signIn }, request, reply) {
        const given = sessionKey.safeParse(request.body);
        if (!given.success) {
          throw new HttpFault('invalid_body', 'Send {"key": "..."}, with the key that opens the admin page.');
        }
        if (!signIn.needsKey) return shown(signIn, undefined, reply);
        const { session, cookie } = signIn.begin(request, request.ip, given.data.key);
        reply.header('set-cookie', cookie);
        return shown(signIn, session, reply);
      },
    },
    {
      method: 'DELETE',
      path: '/api/session',
      summary: 'Sign out of the admin page in this browser',
      access: 'open',
      answers: answer,
      handle({ signIn }, request, reply) {
        signIn.withKey(request);
        reply.header('set-cookie', signIn.ended(request));
        return shown(signIn, undefined, reply);
      },
    },
  ];
}
