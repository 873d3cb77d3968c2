// Failures that a test orders for the next calls.
import type { ServerResponse } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { resetConnection } from './connections.ts';

/**
 * What goes wrong. A number is answered as that status, and nothing is done. `hang` and `reset-before` do nothing
 * either and give no answer; `hang-after`, `reset-after` and `garbage` do what was asked first, and the caller does not
 * learn of it. `slow` is right in the end. The words in capitals are said as an error about the token.
 */
export const faultKinds = [
  '400',
  '403',
  '404',
  '429',
  '500',
  '503',
  'hang',
  'hang-after',
  'reset-before',
  'reset-after',
  'garbage',
  'slow',
  'TOKEN_EXPIRED',
  'INVALID_REFRESH_TOKEN',
  'USER_DISABLED',
  'USER_NOT_FOUND',
] as const;
export type FaultKind = (typeof faultKinds)[number];

export interface Fault {
  readonly kind: FaultKind;
  /** How many calls it meets. Default 1. */
  readonly times?: number;
  /** Only calls of this path, such as `/v1/token`, or of this GraphQL operation. Default: every token path. */
  readonly path?: string;
  /** Only calls about this account: id or e-mail address. */
  readonly account?: string;
  /** The Retry-After of 429 and 503. */
  readonly retryAfterSeconds?: number;
  /** How late `slow` answers. Default 1000. */
  readonly delayMs?: number;
}

export interface Faults {
  /** Throws when there are a thousand already. */
  add(fault: Fault): void;
  clear(): void;
  /** The fault that meets this call, counted down. `names` are the account's id and address. */
  take(path: string, names: readonly string[]): Fault | undefined;
}

const kept = 1_000;

/** `tokenPaths` are those a fault without a path is for. */
export function createFaults(tokenPaths: ReadonlySet<string>): Faults {
  let waiting: { readonly fault: Fault; left: number }[] = [];
  return {
    add(fault) {
      if (waiting.length >= kept) throw new Error('a thousand faults are waiting already');
      waiting.push({ fault, left: fault.times ?? 1 });
    },
    clear() {
      waiting = [];
    },
    take(path, names) {
      const met = waiting.find(
        ({ fault }) =>
          (fault.path === undefined ? tokenPaths.has(path) : fault.path === path) &&
          (fault.account === undefined || names.includes(fault.account)),
      );
      if (met === undefined) return undefined;
      met.left -= 1;
      if (met.left <= 0) waiting = waiting.filter((one) => one !== met);
      return met.fault;
    },
  };
}

export interface Answer {
  readonly status: number;
  readonly body: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

/**
 * Answers a call that meets `fault`: `execute` does the work, `refuse` says a word about the token in the way of the
 * endpoint, `say` sends.
 */
export async function playFault(
  fault: Fault,
  response: ServerResponse,
  answers: {
    execute(): Answer;
    refuse(word: string): Answer;
    say(answer: Answer): void;
  },
): Promise<void> {
  const { kind } = fault;
  switch (kind) {
    case 'hang':
      return;
    case 'hang-after':
      answers.execute();
      return;
    case 'reset-before':
      resetConnection(response);
      return;
    case 'reset-after':
      answers.execute();
      resetConnection(response);
      return;
    case 'garbage':
      answers.execute();
      response.writeHead(200, { 'content-type': 'text/html' }).end('<html>sandbox: no tokens here</html>');
      return;
    case 'slow': {
      const answer = answers.execute();
      await delay(fault.delayMs ?? 1_000);
      answers.say(answer);
      return;
    }
    case 'TOKEN_EXPIRED':
    case 'INVALID_REFRESH_TOKEN':
    case 'USER_DISABLED':
    case 'USER_NOT_FOUND':
      answers.say(answers.refuse(kind));
      return;
    default: {
      const status = Number(kind);
      const { retryAfterSeconds } = fault;
      answers.say({
        status,
        body: { error: { code: status, message: `sandbox: ordered to answer ${kind}` } },
        ...(retryAfterSeconds === undefined ? {} : { headers: { 'retry-after': String(retryAfterSeconds) } }),
      });
    }
  }
}
