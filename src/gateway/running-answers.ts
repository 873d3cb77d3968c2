import type { ServerResponse } from 'node:http';
import { AppError } from '../core/errors.ts';
import type { Clock } from '../lib/clock.ts';
import type { ListeningTime } from '../lib/listening-time.ts';
import { createDrain } from './drain.ts';

/** Answers under way, each until its turn is over and the client has taken the last byte, or has gone. */
export interface RunningAnswers {
  readonly count: number;
  readonly streamCount: number;
  /** `tick` is what a stream does now and then, see StreamOutput. */
  begin(response: ServerResponse, tick?: (now: number) => void): RunningAnswer;
  /** To be called now and then with the listening time: keeps idle streams alive and cuts clients that have stopped reading. */
  tick(now: number): void;
  /** Resolves when none is left. Turns are ended with an error after `deadlineMs`, the rest is cut soon after. */
  drain(deadlineMs: number): Promise<void>;
}

export interface RunningAnswer {
  /** Aborts when the client has left or the deadline of a drain is over; the reason is an AppError. */
  readonly signal: AbortSignal;
  turnEnded(): void;
}

interface Entry {
  readonly response: ServerResponse;
  readonly abort: AbortController;
  readonly tick: ((now: number) => void) | undefined;
  /** Bytes that waited for the client at the last look, and since when it has been as many. */
  waiting: number;
  waitingSince: number;
}

/** A client that takes nothing for so long holds an account for nobody. */
const stalledAfterMs = 300_000;

export function createRunningAnswers(clock: Clock, listening: ListeningTime): RunningAnswers {
  const entries = new Set<Entry>();
  const drain = createDrain(clock);

  function remove(entry: Entry): void {
    entries.delete(entry);
    if (entries.size === 0) drain.allOver();
  }

  /**
   * Node counts what a response has buffered in bytes, but what its socket has in characters of the strings that were written,
   * and so may ask to wait for a 'drain' that never comes where there are several bytes to a character.
   */
  function wakeIfDrained({ response }: Entry): void {
    if (response.writableNeedDrain && response.writableLength === 0) response.emit('drain');
  }

  function cutIfStalled(entry: Entry, now: number): void {
    const { writableLength } = entry.response;
    if (writableLength === 0 || writableLength !== entry.waiting) {
      entry.waiting = writableLength;
      entry.waitingSince = now;
    } else if (now - entry.waitingSince >= stalledAfterMs) {
      entry.response.destroy();
    }
  }

  return {
    get count() {
      return entries.size;
    },
    get streamCount() {
      return [...entries].filter(({ tick }) => tick !== undefined).length;
    },

    begin(response, tick) {
      const abort = new AbortController();
      const entry: Entry = { response, abort, tick, waiting: 0, waitingSince: listening.now() };
      let isTurnOver = false;
      let isClosed = false;
      entries.add(entry);
      response.once('close', () => {
        isClosed = true;
        if (!response.writableEnded) abort.abort(new AppError('cancelled', 'The client left.'));
        if (isTurnOver) remove(entry);
      });
      return {
        signal: abort.signal,
        turnEnded() {
          isTurnOver = true;
          // Whatever the reason, nobody would ever end it.
          if (!isClosed && !response.writableEnded) response.destroy();
          if (isClosed) remove(entry);
        },
      };
    },

    tick(now) {
      for (const entry of entries) {
        wakeIfDrained(entry);
        entry.tick?.(now);
        cutIfStalled(entry, now);
      }
    },

    async drain(deadlineMs) {
      if (entries.size === 0) return;
      await drain.wait(
        deadlineMs,
        (error) => {
          for (const { abort } of entries) abort.abort(error);
        },
        () => {
          for (const { response } of entries) response.destroy();
        },
      );
    },
  };
}
