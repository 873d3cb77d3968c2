import { parentPort } from 'node:worker_threads';
import { type Schema, Validator } from '@cfworker/json-schema';

export interface SchemaJob {
  readonly schema: Readonly<Record<string, unknown>>;
  /** Valid JSON. */
  readonly json: string;
}

export type SchemaReply = { readonly fault: string | undefined } | { readonly unusable: string };

/** Said to a model, which needs no more than a few to mend. */
const mostFaults = 3;
const longestFault = 300;
/** Beyond it the checker, which calls itself for each level, could exhaust the stack. */
const deepest = 1_000;

parentPort?.on('message', (job: SchemaJob) => parentPort?.postMessage(check(job)));
parentPort?.postMessage('ready');

function check({ schema, json }: SchemaJob): SchemaReply {
  try {
    const value: unknown = JSON.parse(json);
    if (isTooDeep(value)) return { fault: `it is nested deeper than ${deepest} levels` };
    const { valid, errors } = new Validator(schema as Schema, '2020-12', false).validate(value);
    if (valid) return { fault: undefined };
    const faults = errors
      .slice(-mostFaults)
      .map(({ instanceLocation, error }) => `${instanceLocation}: ${error}`.slice(0, longestFault));
    return { fault: faults.join('; ') };
  } catch (error) {
    return { unusable: error instanceof Error ? error.message.slice(0, longestFault) : 'unknown' };
  }
}

function isTooDeep(value: unknown): boolean {
  const waiting = [{ part: value, depth: 0 }];
  for (let next = waiting.pop(); next; next = waiting.pop()) {
    const { part, depth } = next;
    if (typeof part !== 'object' || part === null) continue;
    if (depth >= deepest) return true;
    for (const inner of Object.values(part)) waiting.push({ part: inner, depth: depth + 1 });
  }
  return false;
}
