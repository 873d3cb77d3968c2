import type { ConfigStanding } from '../../core/configured-routes.ts';
import { type DiskHealth, logFault } from '../../lib/log/disk-health.ts';
import type { Logger } from '../../lib/log/logger.ts';
import { version } from '../../lib/version.ts';
import { storeFaults, type Verdict } from '../../pool-api/readiness.ts';
import type { GatewayDatabase } from '../database/gateway-database.ts';
import type { ManagedKeys } from '../keys/managed-keys.ts';
import type { PoolWatch } from '../leases/pool-watch.ts';
import type { BufferedStore } from '../state/buffered-store.ts';
import type { Admission } from '../turn/admission.ts';
import { keyNotAccepted } from '../turn/app-errors.ts';
import type { TurnDependencies } from '../turn/client-turns.ts';

export interface HealthSources {
  readonly dependencies: Pick<TurnDependencies, 'reach' | 'circuits' | 'routes' | 'ledger'>;
  readonly poolWatch: PoolWatch;
  readonly keep: Pick<BufferedStore, 'figures'>;
  /** Of client keys and usage. */
  readonly database: Pick<GatewayDatabase, 'isReachable' | 'isShared'>;
  readonly managedKeys: Pick<ManagedKeys, 'areKnown'>;
  readonly isPoolInside: boolean;
  readonly disks: () => DiskHealth;
  /** How the configuration file stands; undefined where there is none. */
  readonly configWatch?: { readonly standing: ConfigStanding; reload(): ConfigStanding } | undefined;
  readonly admission: Pick<Admission, 'load' | 'reason'>;
  /** New turns are refused while those that run end. */
  readonly isStopping: boolean;
}

/** What `/health` answers, from what is known already. */
export function healthOf(sources: HealthSources) {
  const {
    dependencies,
    poolWatch,
    keep,
    database,
    managedKeys,
    isPoolInside,
    disks,
    configWatch,
    admission,
    isStopping,
  } = sources;
  const { isAccepted, isReachable, lacksStore } = poolWatch;
  const unreachable = [...dependencies.reach.all].filter(([, isUp]) => !isUp).map(([provider]) => provider);
  const { isReachable: isKeepReachable, isWritable, store } = keep.figures();
  const { log, disk } = disks();
  const ledger = dependencies.ledger.figures;
  const config = configWatch?.standing;
  const verdict = isReachable && isAccepted ? dependencies.routes.judge() : undefined;
  const { load, reason: overload } = admission;
  const reasons = [
    isStopping && 'The gateway is stopping: turns that run may end, and no new ones begin.',
    overload !== undefined && overload,
    !isReachable && (lacksStore ? storeFaults.unreachable : poolUnreachable),
    !isAccepted && keyNotAccepted,
    verdict?.isReady === false && verdict.reason,
    ...unreachable.map(noConnection),
    isReachable && !poolWatch.isWritable && storeFaults.readOnly,
    !isKeepReachable && keepFaults.unreachable,
    isKeepReachable && !isWritable && keepFaults.readOnly,
    !database.isReachable && (managedKeys.areKnown ? databaseFaults.away : databaseFaults.neverRead),
    !log.writable && logFault,
    config?.status === 'error' && configRefused,
  ].filter((reason) => reason !== false);
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
    open_circuits: dependencies.circuits.open,
    keep: { store, reachable: isKeepReachable, ...(isKeepReachable && !isWritable && { writable: false }) },
    database: { reachable: database.isReachable },
    ledger: { waiting_turns: ledger.waiting, dropped_turns: ledger.dropped },
    load: {
      sheds_turns: overload !== undefined,
      event_loop_delay_ms: Math.round(load.delayMs),
      heap_used_percent: Math.round(100 * load.heapShare),
    },
    log,
    disk,
    ...(config && { config }),
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

const poolUnreachable =
  'The account pool does not answer at POOL_SERVICE_URL: start it with "warp2api serve pool", or correct the address.';

const databaseFaults = {
  away: 'Client keys and usage go on from memory, since their database cannot be used: check that it runs and that GATEWAY_DATABASE_URL is right.',
  neverRead:
    'Clients get 503 unless they have one of API_KEYS, since the database of client keys could not be read yet: the log says why. Gateways that share a DATA_DIR need a GATEWAY_DATABASE_URL for each, or one PostgreSQL.',
};

const keepFaults = {
  unreachable:
    'Conversations and stored responses are in memory only, since their store cannot be used: check that it runs and that KEEP_URL is right.',
  readOnly: 'Conversations and stored responses cannot be written: make room on the disk of KEEP_URL.',
};

const configRefused =
  'The configuration file was changed and has faults: what it said before stays in force.';

function noConnection(provider: string): string {
  return `No connection to ${provider} can be made from here: look at the network, the proxy and the name server.`;
}
