import type { KeylessClient } from '../../../../src/core/keyless-client.ts';
import { turnsText } from '../../texts/turns.ts';

export const keylessClient: KeylessClient = '47DEQpj8HBSa';

/** The name of a managed key, else what tells clients apart. */
export function keyName(name: string | null | undefined, id: string): string {
  return name ?? (id === keylessClient ? turnsText().noKey : id);
}

/** A word where there is one, else the code of the error as it is. */
export function shownOutcome(outcome: string | null): string {
  const text = turnsText();
  switch (outcome) {
    case null:
    case 'running':
      return text.running;
    case 'success':
      return text.success;
    case 'cancelled':
      return text.cancelled;
    default:
      return outcome;
  }
}
