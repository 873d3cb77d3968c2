import { type DiskHealth, logFault } from '../lib/disk-health.ts';
import type { Logger } from '../lib/logger.ts';
import { version } from '../lib/version.ts';
import type { Verdict } from '../pool-api/readiness.ts';
import type { GatewayKeep } from './keep/open-keep.ts';
import { keyNotAccepted } from './pool-fault.ts';
import type { PoolWatch } from './pool-watch.ts';
import type { TurnDependencies } from './run-turn.ts';

export interface HealthSources {
  readonly turns: Pick<TurnDependencies, 'reach' | 'routes'>;
  readonly poolWatch: PoolWatch;
  readonly keep: Pick<GatewayKeep, 'figures'>;
  readonly isPoolInside: boolean;
  readonly disks: () => DiskHealth;
}

/** What `/health` answers, from what is known already: nobody is asked. */
export function healthOf({ turns, poolWatch, keep, isPoolInside, disks }: HealthSources) {
  const { isAccepted, isReachable, lacksStore } = poolWatch;
  const unreachable = [...turns.reach.all].filter(([, isUp]) => !isUp).map(([provider]) => provider);
  const { isReachable: isKeepReachable, isWritable, store } = keep.figures();
  const { log, disk } = disks();
  const verdict = isReachable && isAccepted ? turns.routes.judge() : undefined;
  const reasons = [
    ...(isReachable ? [] : [poolAway(isPoolInside || lacksStore === true)]),
    ...(isAccepted ? [] : [keyNotAccepted]),
    ...(verdict?.isReady === false ? [verdict.reason] : []),
    ...unreachable.map(noConnection),
    ...(poolWatch.isWritable || !isReachable
      ? []
      : ["The pool's database takes no changes: make room on its disk."]),
    ...(isKeepReachable
      ? []
      : [
          'What the gateway remembers is in memory only, since its store cannot be used: see that it runs, and what KEEP_URL says.',
        ]),
    ...(isWritable || !isKeepReachable
      ? []
      : ['What the gateway remembers cannot be written: make room on the disk of KEEP_URL.']),
    ...(log.writable ? [] : [logFault]),
  ];
  return {
    status: reasons.length === 0 ? 'ok' : 'degraded',
    ...(reasons.length > 0 && { reason: reasons.join(' ') }),
    sandbox: poolWatch.isSandbox,
    version,
    pool: {
      mode: isPoolInside ? 'inside' : 'http',
      reachable: isReachable,
      accepts_key: isAccepted,
      writable: poolWatch.isWritable,
    },
    unreachable_providers: unreachable,
    keep: { store, reachable: isKeepReachable, ...(isKeepReachable && !isWritable && { writable: false }) },
    log,
    disk,
    ...(poolWatch.isSandbox
      ? { notice: 'No account is in the pool: answers come from the built-in sandbox, not from a model.' }
      : {}),
  };
}

/** Tells the log when turns stop having an account that could answer, unless that passes without anyone's doing. */
export class VerdictLog {
  readonly #logger: Logger;
  #said: string | undefined;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  note(verdict: Verdict | undefined): void {
    if (verdict?.isReady === false && !verdict.isPassing && verdict.reason !== this.#said) {
      this.#said = verdict.reason;
      this.#logger.warn(`no turn can be answered: ${verdict.reason}`);
    }
    if (verdict?.isReady && this.#said !== undefined) {
      this.#said = undefined;
      this.#logger.info('turns can be answered again');
    }
  }
}

function poolAway(isDatabase: boolean): string {
  return isDatabase
    ? 'The database of the pool does not answer: see that it runs, and what DATABASE_URL says.'
    : 'The account pool does not answer at POOL_SERVICE_URL: start it with "warp2api serve pool", or correct the address.';
}

function noConnection(provider: string): string {
  return `No connection to ${provider} can be made from here: look at the network, the proxy and the name server.`;
}
