import type { Logger } from '../log/logger.ts';
import { linuxProcess } from './linux-process.ts';

/** A signal that comes again within this time is the terminal's own and the same one passed on, where a starter passes it on. */
const repeatedMs = 1000;
const lookMs = 500;

/** A script that npm and its like run for this service alone, last and not in the background. npx names the program only. */
const scriptOfService = /(^|[\s/'"])warp2api(\.js)?['"]?(\s+['"]?serve\b[^&|;]*)?$/;

/** The processes that pass signals on to this one, by their ids: its parent, and npm where that is a shell of npm's. */
export interface Starter {
  readonly parent: number;
  readonly npm?: number | undefined;
}

/**
 * Without its starter this process could not be stopped the way it was started: an older Node that has handed over, or npm and its like.
 * Undefined where there is none.
 */
export function starterOf(environment: NodeJS.ProcessEnv): Starter | undefined {
  const { WARP2API_STARTED_BY: handedOver, npm_lifecycle_script: script = '' } = environment;
  if (handedOver !== undefined) return { parent: Number(handedOver) };
  if (!scriptOfService.test(script)) return undefined;
  const parent = linuxProcess(process.ppid);
  const isShell = parent !== undefined && /^(|ba|da|z|k|a)sh$/.test(parent.name);
  return { parent: process.ppid, npm: isShell ? parent.parent : undefined };
}

/** The command that a person gave, where that was not this program's own: `npm start`, `npx`. */
export function startedBy(environment: NodeJS.ProcessEnv): string | undefined {
  const { npm_lifecycle_script: script = '', npm_lifecycle_event: event = '' } = environment;
  if (!scriptOfService.test(script)) return undefined;
  return event === 'npx' ? 'npx' : event === 'start' ? 'npm start' : `npm run ${event}`;
}

function hasEnded({ parent, npm }: Starter): boolean {
  if (process.ppid !== parent) return true;
  return npm !== undefined && linuxProcess(parent)?.parent !== npm;
}

/**
 * Resolves at the first of the signals, or when the starter has ended: killed at once, it could pass nothing on. A second signal
 * ends the process as if it had never been caught.
 */
export function stopSignal(
  signals: readonly NodeJS.Signals[],
  starter: Starter | undefined,
  logger: Logger,
): Promise<void> {
  return new Promise((resolve) => {
    let stoppingSince: number | undefined;
    let look: NodeJS.Timeout | undefined;
    const stop = (reason: object) => {
      if (stoppingSince !== undefined) return;
      stoppingSince = performance.now();
      clearInterval(look);
      logger.info(reason, 'stopping');
      resolve();
    };
    const onSignal = (signal: NodeJS.Signals) => {
      const since = stoppingSince === undefined ? undefined : performance.now() - stoppingSince;
      if (since === undefined) {
        stop({ signal });
      } else if (starter === undefined || since > repeatedMs) {
        for (const other of signals) process.off(other, onSignal);
        process.kill(process.pid, signal);
      }
    };
    for (const signal of signals) process.on(signal, onSignal);
    if (starter === undefined) return;
    look = setInterval(() => {
      if (hasEnded(starter)) stop({ reason: 'what started it has ended' });
    }, lookMs).unref();
  });
}
