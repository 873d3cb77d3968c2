import { refused } from './refused.ts';

export interface ResultPlace {
  /** Of the id in the result. */
  readonly param: string;
  /** The result came after the last answer. */
  readonly isNew: boolean;
  /** What the client has to send, too. */
  readonly advice: string;
}

/** Of a call whose name is missing: its client has answered it, and the model is to see that. */
export const noName = 'unnamed';

/** The calls of a history, each with the result that answers it. */
export class MadeCalls {
  readonly #names = new Map<string, string>();
  readonly #open = new Set<string>();
  #count = 0;

  /** The id of a call, made up where it came without one; the same history gets the same ids. */
  add(id: string | null | undefined, name: string): string {
    this.#count += 1;
    const known = id || `call_${this.#count}`;
    this.#names.set(known, name);
    this.#open.add(known);
    return known;
  }

  /**
   * The call that a result with this id answers; without an id the first one that waits for a result. Of older results the
   * call may be gone: clients cut long histories. Throws AppError `invalid_request` for a new result without its call.
   */
  answered(id: string | null | undefined, place: ResultPlace): string {
    const [firstOpen] = this.#open;
    return this.#settle(id || firstOpen, id, place);
  }

  /** The same where results name the tool only. */
  answeredByName(name: string | null | undefined, place: ResultPlace): string {
    const open = [...this.#open].find((id) => this.#names.get(id) === name);
    return this.#settle(open, name, place);
  }

  #settle(
    found: string | undefined,
    asked: string | null | undefined,
    { param, isNew, advice }: ResultPlace,
  ): string {
    if (found !== undefined && this.#names.has(found)) {
      this.#open.delete(found);
      return found;
    }
    if (isNew) throw refused(param, `answers no call of the messages before: ${advice}`);
    return asked || 'unknown';
  }
}
