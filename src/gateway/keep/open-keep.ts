import type { Clock } from '../../lib/clock.ts';
import { errorCode, errorMessage } from '../../lib/errors.ts';
import type { Logger } from '../../lib/logger.ts';
import { onceAMinute } from '../../lib/once-a-minute.ts';
import type { Keep, KeepFigures, OpenKeep } from './keep.ts';
import { createMemoryKeep } from './memory-keep.ts';
import { openResilientKeep } from './resilient-keep.ts';
import { createSealedKeep } from './sealed-keep.ts';

export interface OpenKeepOptions {
  /** `memory`, `sqlite:` and an absolute path, or `postgres://…`. */
  readonly url: string;
  readonly maxBytes: number;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** The gateway's keep. Keys are secrets, see `sealed-keep.ts`. */
export interface GatewayKeep extends Keep {
  figures(): KeepFigures;
  /** Calls of the store that failed so far; no turn fails for that. */
  readonly failures: number;
}

/**
 * What of a file is held in memory as well, and what an unreachable store leaves there. It saves a follow-up a tenth of a
 * millisecond, fills up with conversations that never go on, and costs a third more than it holds.
 */
const memoryBytes = 16 * 1024 * 1024;

/**
 * Opens what KEEP_URL names. Never fails for the store's sake: without it the gateway goes on with its memory, says so
 * once, and tries again.
 */
export async function openKeep(options: OpenKeepOptions): Promise<GatewayKeep> {
  const { url, maxBytes, clock, logger } = options;
  let failures = 0;
  const warn = onceAMinute(clock, (_count, error: unknown) =>
    logger.warn(
      { err: error, failures },
      'the keep failed; conversations and stored responses may be forgotten, turns go on',
    ),
  );
  const onFailure = (error: unknown): void => {
    failures += 1;
    warn(error);
  };

  const smallBytes = Math.min(memoryBytes, maxBytes);
  const kept =
    url === 'memory'
      ? createMemoryKeep(clock, maxBytes)
      : await openResilientKeep({
          open: (onLost) => openStore(onLost),
          clock,
          spareBytes: smallBytes,
          onAway: (error) => logger.warn({ err: error }, awayMessage(error)),
          onBack: () => logger.info('the store of the keep is open now'),
          onFailure,
        });

  async function openStore(onLost: (error: unknown) => void): Promise<OpenKeep> {
    // Loaded only where they are used.
    if (url.startsWith('sqlite:')) {
      const { openSqliteKeep } = await import('./sqlite-keep.ts');
      const path = url.slice('sqlite:'.length);
      return openSqliteKeep(path, { clock, maxBytes, frontBytes: smallBytes, onFailure, onLost });
    }
    const { openPostgresKeep } = await import('./postgres-keep.ts');
    return openPostgresKeep(url, { clock, maxBytes, onFailure });
  }

  const sealed = createSealedKeep(kept, onFailure);
  return {
    ...sealed,
    figures: kept.figures,
    get failures() {
      return failures;
    },
  };
}

function awayMessage(error: unknown): string {
  const reason = errorMessage(error);
  const isHeld = errorCode(error) === 'database_in_use';
  const advice = isHeld
    ? 'Give each gateway a file of its own (KEEP_URL=sqlite:gateway-2.db), or let them share KEEP_URL=postgres://…'
    : 'Set KEEP_URL to a file or a database that can be used, or to "memory".';
  return `Conversations and stored responses are kept in memory only, until their store can be opened. ${reason} ${advice}`;
}
