import { parentPort, Worker } from 'node:worker_threads';
import { systemClock } from '../lib/clock.ts';
import { errorCode, errorMessage } from '../lib/errors.ts';
import { shrinkAfterStart } from '../lib/process/own-turn.ts';
import { DatabaseError, type DatabaseErrorCode, thisCommand } from './database.ts';

/** An object whose members are functions over plain data. */
type Verbs = Record<string, (...values: never[]) => unknown>;

/** The same object as seen from another thread. */
export type RemoteVerbs<V> = {
  readonly [Name in keyof V]: V[Name] extends (...values: infer Values) => infer Answer
    ? (...values: Values) => Promise<Awaited<Answer>>
    : never;
};

interface Call {
  readonly id: number;
  readonly verb: string;
  readonly values: unknown[];
}
interface Fault {
  readonly name: string;
  readonly message: string;
  readonly code: string | undefined;
  readonly stack: string | undefined;
}
type Reply =
  | { readonly id: 'opened'; readonly verbs: readonly string[] }
  | { readonly id: 'failed'; readonly fault: Fault }
  | { readonly id: number; readonly answer: unknown }
  | { readonly id: number; readonly fault: Fault };

/** Inside a worker thread: opens the object and serves its verbs, one message each, in the order they came. */
export function serveVerbs(open: () => object): void {
  const port = parentPort;
  if (port === null) throw new Error('serveVerbs runs in a worker thread');
  const reply = (message: Reply): void => port.postMessage(message);
  let verbs: Verbs;
  try {
    verbs = open() as Verbs;
  } catch (error) {
    reply({ id: 'failed', fault: faultOf(error) });
    port.close();
    return;
  }
  port.on('message', async ({ id, verb, values }: Call) => {
    try {
      const run = verbs[verb];
      if (run === undefined) throw new Error(`no such verb: ${verb}`);
      reply({ id, answer: await run(...(values as never[])) });
    } catch (error) {
      reply({ id, fault: faultOf(error) });
    }
  });
  reply({ id: 'opened', verbs: Object.keys(verbs) });
  shrinkAfterStart(systemClock);
}

/** The verbs of a SQLite file, served by a thread of its own: that of the module `name`, a path from `importer`. */
export function openThread<V>(
  name: string,
  importer: string,
  workerData: object,
  onLost: (error: DatabaseError) => void,
): Promise<RemoteVerbs<V>> {
  // Sources run as .ts, the built package as .js, and tsc rewrites no URLs.
  const module = new URL(`${name}.${importer.endsWith('.ts') ? 'ts' : 'js'}`, importer);
  const worker = new Worker(module, {
    workerData: { ...workerData, command: thisCommand() },
    // Each verb makes little garbage; without a bound V8 keeps several times as much memory for it.
    resourceLimits: { maxYoungGenerationSizeMb: 4 },
  });
  return connectVerbs<V>(worker, onLost);
}

/**
 * Outside: the verbs that `worker` serves. Rejects with the worker's own error when it could not open.
 * When the thread dies every pending and later call rejects with DatabaseError `database_lost`, and `onLost` is called.
 */
export function connectVerbs<V>(
  worker: Worker,
  onLost: (error: DatabaseError) => void,
): Promise<RemoteVerbs<V>> {
  const pending = new Map<number, { resolve(answer: unknown): void; reject(error: Error): void }>();
  let lost: DatabaseError | undefined;
  let isClosing = false;
  let lastId = 0;

  const call = (verb: string, values: unknown[]): Promise<unknown> => {
    if (lost !== undefined) return Promise.reject(lost);
    lastId += 1;
    const id = lastId;
    return new Promise((resolve, reject) => {
      pending.set(id, { resolve, reject });
      worker.postMessage({ id, verb, values } satisfies Call);
    });
  };

  return new Promise((resolve, reject) => {
    const lose = (cause: unknown): void => {
      if (lost !== undefined) return;
      const reason = errorMessage(cause);
      lost = new DatabaseError('database_lost', `The database thread is gone: ${reason}.`, { cause });
      reject(lost);
      for (const waiting of pending.values()) waiting.reject(lost);
      pending.clear();
      if (!isClosing) onLost(lost);
    };
    worker.on('error', lose);
    worker.on('exit', (code) => lose(`it ended with code ${code}`));
    worker.on('message', (message: Reply) => {
      if (message.id === 'opened') {
        const verbs = message.verbs.map((verb) => [verb, (...values: unknown[]) => call(verb, values)]);
        resolve({
          ...Object.fromEntries(verbs),
          close: async () => {
            isClosing = true;
            if (lost === undefined) await call('close', []);
            await worker.terminate();
          },
        } as RemoteVerbs<V>);
      } else if (message.id === 'failed') {
        isClosing = true;
        reject(errorFrom(message.fault));
      } else {
        const waiting = pending.get(message.id);
        pending.delete(message.id);
        if ('fault' in message) waiting?.reject(errorFrom(message.fault));
        else waiting?.resolve(message.answer);
      }
    });
  });
}

function faultOf(error: unknown): Fault {
  if (!(error instanceof Error))
    return { name: 'Error', message: String(error), code: undefined, stack: undefined };
  const code = errorCode(error);
  return { name: error.name, message: error.message, code, stack: error.stack };
}

function errorFrom(fault: Fault): Error {
  const error =
    fault.name === 'DatabaseError'
      ? new DatabaseError(fault.code as DatabaseErrorCode, fault.message)
      : Object.assign(new Error(fault.message), fault.code === undefined ? {} : { code: fault.code });
  if (fault.stack !== undefined) error.stack = fault.stack;
  return error;
}
