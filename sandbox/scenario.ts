// What a scenario is.
import type { Refusal } from './faults.ts';
import type { Framing } from './frames.ts';
import type { Script } from './script.ts';
import { plain } from './shapes.ts';

export interface Scenario {
  name: string;
  /** The model id that chooses it; empty for the ones only a key can choose. */
  model: string;
  /** What the sandbox sends. */
  description: string;
  /** What a client of a gateway in front of it should see. */
  clientSees: string;
}

export interface PlayableScenario extends Scenario {
  refusal?: Refusal;
  script: Script;
  framing: Framing;
  /** Refuses every operation with this status, GraphQL too. */
  refusesEverything?: boolean;
  /** What every GraphQL operation is answered with instead. */
  graphqlRefusal?: Refusal;
  /** The connection is closed instead of answering, where it served a request before. */
  closesReused?: boolean;
}

export const plainName = 'plain';

export function scenario(
  name: string,
  description: string,
  clientSees: string,
  how: Script | Refusal | Framing,
): PlayableScenario {
  const model = name === plainName ? 'sandbox' : `sandbox-${name}`;
  const base = { name, model, description, clientSees, script: plain, framing: 'unquoted' as Framing };
  if (typeof how === 'string') return { ...base, framing: how };
  return typeof how === 'function' ? { ...base, script: how } : { ...base, refusal: how };
}

export const theAnswer = 'the answer';
export const errorAtOnce = 'an error, before any content';
export const errorAfterText = 'the partial text, then an error; never a good end';
