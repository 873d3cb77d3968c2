import { Worker } from 'node:worker_threads';
import type { Clock } from '../lib/clock.ts';
import { createLimit } from '../lib/limit.ts';
import type { SchemaJob, SchemaReply } from './schema-worker.ts';

/** A schema that no answer can be checked against, or not in time; the message goes on after its name. */
export class SchemaUnusableError extends Error {
  override readonly name = 'SchemaUnusableError';
}

/** Checks JSON against the schemas of clients. */
export interface SchemaChecker {
  /** What keeps a JSON text from following the schema of a client, in a few words. Throws SchemaUnusableError. */
  faultOf(
    schema: Readonly<Record<string, unknown>>,
    json: string,
    clientId: string,
  ): Promise<string | undefined>;
  close(): Promise<void>;
}

const timeLimitMs = 2_000;
const memoryLimitMb = 256;

/**
 * A few lines of schema, a pattern or references that branch, can keep a checker busy for years. So it works in a thread
 * of its own, started when first needed, one check at a time, and is ended when one takes too long. Answers go there as
 * text: no value is nested too deeply for that.
 */
export function createSchemaChecker(clock: Clock): SchemaChecker {
  const limit = createLimit(1);
  const lines = new Map<string, { readonly limit: typeof limit; waiting: number }>();
  let worker: Promise<Worker> | undefined;

  async function check(job: SchemaJob): Promise<SchemaReply> {
    worker ??= startWorker();
    const running = await worker;
    return await new Promise<SchemaReply>((resolve, reject) => {
      const settle = (): void => {
        cancel();
        running.removeAllListeners('message');
        running.removeAllListeners('error');
      };
      const giveUp = (reason: string): void => {
        settle();
        worker = undefined;
        // What it still says goes to nobody.
        running.on('error', () => {});
        void running.terminate();
        reject(new SchemaUnusableError(reason));
      };
      const cancel = clock.after(timeLimitMs, () => giveUp('takes too long to check an answer against'));
      running.once('error', () => giveUp('takes too much memory to check an answer against'));
      running.once('message', (reply: SchemaReply) => {
        settle();
        resolve(reply);
      });
      running.postMessage(job);
    });
  }

  /** Of each client one check stands in line: many that take long hold up their own client, and others by one each. */
  async function inLine<T>(clientId: string, task: () => Promise<T>): Promise<T> {
    const line = lines.get(clientId) ?? { limit: createLimit(1), waiting: 0 };
    lines.set(clientId, line);
    line.waiting += 1;
    try {
      return await line.limit(() => limit(task));
    } finally {
      line.waiting -= 1;
      if (line.waiting === 0) lines.delete(clientId);
    }
  }

  return {
    async faultOf(schema, json, clientId) {
      const reply = await inLine(clientId, () => check({ schema, json }));
      if ('unusable' in reply) throw new SchemaUnusableError(`cannot be checked (${reply.unusable})`);
      return reply.fault;
    },
    async close() {
      const running = await worker;
      worker = undefined;
      await running?.terminate();
    },
  };
}

/** Resolves once it takes work, so that its start is not counted as checking. */
async function startWorker(): Promise<Worker> {
  // Sources run as .ts, the built package as .js, and tsc rewrites no URLs.
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
  const worker = new Worker(new URL(`./schema-worker.${extension}`, import.meta.url), {
    resourceLimits: { maxOldGenerationSizeMb: memoryLimitMb },
  });
  await new Promise((resolve, reject) => {
    worker.once('message', resolve);
    worker.once('error', reject);
  });
  worker.removeAllListeners('error');
  // It keeps no process alive.
  worker.unref();
  return worker;
}
