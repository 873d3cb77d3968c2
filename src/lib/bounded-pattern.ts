import { createContext, Script } from 'node:vm';

/** No sound pattern takes a thousandth of it, on a busy machine either. */
const mostMs = 1_000;

/** An expression that an operator wrote, for texts that clients write: it may try each of countless ways through one of them. */
export class BoundedPattern {
  readonly #replace = new Script('text.replace(pattern, mark)');
  readonly #context: Record<string, unknown>;

  /** Throws SyntaxError. */
  constructor(source: string, mark: string) {
    this.#context = createContext({ text: '', pattern: new RegExp(source, 'gu'), mark });
  }

  /** The text with the mark where the pattern matched. Undefined: that would take too long. */
  replace(text: string): string | undefined {
    this.#context['text'] = text;
    try {
      return String(this.#replace.runInContext(this.#context, { timeout: mostMs }));
    } catch {
      return undefined;
    } finally {
      this.#context['text'] = '';
    }
  }
}
