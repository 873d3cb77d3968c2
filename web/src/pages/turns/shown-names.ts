import type { ShownTurn } from '../../../../src/core/shown-turn.ts';
import { turnsText } from '../../texts/turns.ts';

/** As commands name an account. */
export function accountName(id: string): string {
  return id.slice(0, 12);
}

/** The name of a managed key, else what tells clients apart. */
export function keyName({ key_name, client_key }: ShownTurn): string {
  return key_name ?? client_key;
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
