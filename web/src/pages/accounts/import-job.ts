import { signal } from '@preact/signals';
import type { ImportAnswer } from '../../../../src/pool-api/account-schema.ts';
import { type ApiError, api, asError } from '../../api.ts';

type LineResult = ImportAnswer['results'][number];

interface Line {
  readonly line: number;
  readonly text: string;
}

/** So many in a call: often enough to show how far it is, and little to repeat after a broken connection. */
const chunk = 10;

/**
 * An import that runs. It outlives its dialog and the page, so that one which was cut off by the end of a session goes on after
 * the next sign-in. What is left of the lines is in this browser's memory only and is never drawn.
 */
export class ImportJob {
  readonly results = signal<readonly LineResult[]>([]);
  readonly isRunning = signal(false);
  readonly error = signal<ApiError | undefined>(undefined);
  readonly total: number;
  #rest: readonly Line[];

  constructor(lines: readonly Line[]) {
    this.total = lines.length;
    this.#rest = lines;
  }

  get left(): number {
    return this.total - this.results.value.length;
  }

  async run(): Promise<void> {
    this.isRunning.value = true;
    this.error.value = undefined;
    try {
      while (this.#rest.length > 0) {
        const next = this.#rest.slice(0, chunk);
        const lines = next.map(({ text }) => text).join('\n');
        const { results } = await api.post<ImportAnswer>('/api/accounts/import', { lines });
        this.#rest = this.#rest.slice(chunk);
        const named = results.map((result) => ({
          ...result,
          line: next[result.line - 1]?.line ?? result.line,
        }));
        this.results.value = [...this.results.value, ...named];
      }
    } catch (thrown) {
      this.error.value = asError(thrown);
    }
    this.isRunning.value = false;
  }
}

export const importJob = signal<ImportJob | undefined>(undefined);

/** Lines that are not blank, with their numbers. A line that is no JSON is a credential of that provider. */
export function importLines(
  text: string,
  provider: string,
  kind: 'api_key' | 'refresh_token',
): readonly Line[] {
  return text
    .replace(/^\uFEFF/, '')
    .split('\n')
    .map((line, index) => ({ line: index + 1, text: line.trim() }))
    .filter(({ text: line }) => line !== '')
    .map(({ line, text: given }) => ({
      line,
      text: given.startsWith('{') ? given : JSON.stringify({ provider, [kind]: given }),
    }));
}

export function isSealed(text: string): boolean {
  return /^\s*\{"warp2api_export":/.test(text);
}
