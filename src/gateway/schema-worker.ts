import { parentPort } from 'node:worker_threads';
import { type Schema, Validator } from '@cfworker/json-schema';

export interface SchemaJob {
  readonly schema: Readonly<Record<string, unknown>>;
  readonly value: unknown;
}

export type SchemaReply = { readonly fault: string | undefined } | { readonly unusable: string };

/** Said to a model, which needs no more than a few to mend. */
const mostFaults = 3;
const longestFault = 300;

parentPort?.on('message', (job: SchemaJob) => parentPort?.postMessage(check(job)));
parentPort?.postMessage('ready');

function check({ schema, value }: SchemaJob): SchemaReply {
  try {
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
