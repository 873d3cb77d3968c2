import { errorMessage } from '../lib/errors.ts';

/** One thing that was looked at. A problem's message says what to do. */
export interface Finding {
  readonly name: string;
  readonly result: 'ok' | 'problem' | 'skipped';
  readonly message: string;
}

export const ok = (name: string, message: string): Finding => ({ name, result: 'ok', message });
export const problem = (name: string, message: string): Finding => ({ name, result: 'problem', message });
export const skipped = (name: string, message: string): Finding => ({ name, result: 'skipped', message });

/** A check whose own failure is what it found. */
export async function findingOf(
  name: string,
  check: () => Promise<Finding | readonly Finding[]>,
): Promise<Finding[]> {
  try {
    return [await check()].flat();
  } catch (error) {
    return [problem(name, errorMessage(error))];
  }
}
