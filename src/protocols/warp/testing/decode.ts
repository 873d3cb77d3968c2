import type { TurnEvent } from '../../../core/turn.ts';
import { WarpDecoder } from '../decode-stream.ts';
import { decodeMemory } from '../memory.ts';
import { stream } from './events.ts';

export interface Decoded {
  readonly events: readonly TurnEvent[];
  readonly anomalies: readonly string[];
  readonly memory: Uint8Array | undefined;
  readonly isModelListOutdated: boolean | undefined;
}

/** A whole answer, read at once. Anomalies with a detail read `anomaly detail`. */
export function decodeAnswer(
  events: readonly Uint8Array[],
  options: { readonly tools?: readonly string[]; readonly memory?: Uint8Array | undefined } = {},
): Decoded {
  const anomalies: string[] = [];
  const decoder = new WarpDecoder({
    tools: (options.tools ?? []).map((name) => ({ name })),
    remembered: options.memory && decodeMemory(options.memory),
    onAnomaly: (anomaly, { detail }) =>
      anomalies.push(detail === undefined ? anomaly : `${anomaly} ${detail}`),
  });
  const read = [...decoder.push(Buffer.from(stream(...events))), ...decoder.end()];
  return {
    events: read,
    anomalies,
    memory: decoder.memory(),
    isModelListOutdated: decoder.isModelListOutdated,
  };
}
