import type { Login } from '../../pool-api/account-schema.ts';
import { PoolError } from '../../pool-api/errors.ts';
import { compareAndSet } from '../base/facts.ts';
import { type Source, SourceError, type SourceTools } from './source.ts';

export interface DeviceLoginSourceSettings {
  readonly type: 'device_login';
  readonly name: string;
  readonly provider: string;
}

interface Offer {
  readonly at: number;
  readonly loginId: string | null;
}

/** A person who has not come by then will not come the sooner for being asked more often. */
const offerEveryMs = 15 * 60_000;

/** Offers a login to a person while the pool is too small. Only a person can approve it. */
export function createDeviceLoginSource(
  settings: DeviceLoginSourceSettings,
  { basics, logins }: SourceTools,
): Source {
  const { name, provider } = settings;
  const { store, clock, logger } = basics;
  const fact = `offered:${name}`;
  const offerIn = (text: string | null): Offer | null => (text === null ? null : (JSON.parse(text) as Offer));

  const pendingLogin = async (): Promise<Login | null> => {
    const loginId = offerIn(await store.remembered(fact))?.loginId ?? null;
    if (loginId === null) return null;
    try {
      const { login } = await logins.getLogin(loginId);
      return login.status === 'pending' ? login : null;
    } catch (error) {
      if (error instanceof PoolError && error.code === 'login_not_found') return null;
      throw error;
    }
  };

  /** One instance at a time, and none too soon after another. */
  const claimTurn = (): Promise<boolean> =>
    compareAndSet(store, fact, async (text) => {
      const last = offerIn(text);
      if (last !== null && last.at > clock.now() - offerEveryMs) return { answer: false };
      return { value: JSON.stringify({ at: clock.now(), loginId: null } satisfies Offer), answer: true };
    });

  return {
    name,
    type: settings.type,
    restsWhenEmpty: false,
    pendingLogin,
    async fetch({ actor }) {
      if ((await pendingLogin()) !== null || !(await claimTurn())) return;
      const caller = { role: 'admin', keyId: actor, isGateway: false } as const;
      try {
        const { login } = await logins.startLogin(caller, { provider });
        await store.remember(fact, JSON.stringify({ at: clock.now(), loginId: login.id } satisfies Offer));
        const { user_code, verification_uri } = login;
        logger.warn(
          { source: name, provider, login_id: login.id, user_code, verification_uri },
          'the pool is too small: somebody may log in to add an account',
        );
      } catch (error) {
        if (!(error instanceof PoolError)) throw error;
        throw new SourceError(`no login could be started: ${error.message}`, { cause: error });
      }
    },
  };
}
