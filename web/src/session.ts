import { effect, signal } from '@preact/signals';
import { type ApiError, api, asError, csrf, hasExpired, refusals } from './api.ts';

/** Who is signed in, and at which service. */

export interface Session {
  readonly service: 'gateway' | 'pool';
  readonly version: string;
  /** `open`: this service needs no key from here. */
  readonly state: 'open' | 'signed_in' | 'signed_out';
  readonly csrf?: string;
  /** When the session ends if the page is left alone; ISO 8601. */
  readonly expires_at?: string;
}

/** What this page sends can be read on the way. */
export const isPlainHttp =
  location.protocol === 'http:' && !/^(localhost|127\.|\[::1\])/.test(location.hostname);

export const session = signal<Session | undefined>(undefined);
/** Why the service did not say who is signed in. */
export const sessionFault = signal<ApiError | undefined>(undefined);

/** How many dialogs are open: their page stays when the session ends, for what was typed into them. */
export const openDialogs = signal(0);

export async function openSession(): Promise<void> {
  try {
    const given = await api.get<Session>('/api/session');
    if (session.peek()?.state === 'signed_in' && given.state === 'signed_out') hasExpired.value = true;
    take(given);
    sessionFault.value = undefined;
  } catch (error) {
    sessionFault.value = asError(error);
  }
}

export async function signIn(key: string): Promise<void> {
  take(await api.post<Session>('/api/session', { key }));
  hasExpired.value = false;
}

export async function signOut(): Promise<void> {
  take(await api.delete<Session>('/api/session'));
}

function take(given: Session): void {
  csrf.value = given.csrf;
  session.value = given;
}

/** While someone uses the page its session is kept alive; what the page loads without a press does not count. */
const renewEveryMs = 5 * 60_000;
let renewedAt = Date.now();
for (const type of ['pointerdown', 'keydown']) {
  addEventListener(type, () => {
    if (session.peek()?.state !== 'signed_in' || Date.now() - renewedAt < renewEveryMs) return;
    renewedAt = Date.now();
    void openSession();
  });
}

let seen = 0;
effect(() => {
  if (refusals.value === seen) return;
  seen = refusals.value;
  const present = session.peek();
  // The service was started again with a key.
  if (present?.state === 'open') void openSession();
  if (present?.state !== 'signed_in') return;
  hasExpired.value = true;
  session.value = { ...present, state: 'signed_out' };
});
