import { type Command, InvalidArgumentError, Option } from 'commander';
import type { z } from 'zod';
import type { CliActions } from './actions.ts';

/** The command was called in a way that cannot work; exit code 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** Parses a whole number option within bounds; commander turns the refusal into a usage error. */
export function wholeNumber(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
    if (value >= min && value <= max) return value;
    throw new InvalidArgumentError(`It must be a whole number from ${min} to ${max}.`);
  };
}

export function commaList(text: string): string[] {
  const items = text
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '');
  if (items.length > 0) return items;
  throw new InvalidArgumentError('It must hold at least one name.');
}

/** What the owner may say of an account that is added. */
export interface SettingOptions {
  readonly label?: string;
  readonly capacity?: number;
  readonly models?: string[];
  readonly tier?: number;
  readonly teamUid?: string;
  readonly lend?: 'any' | 'gateway';
  readonly free?: true;
  readonly standby?: true;
}

export function addSettingOptions(command: Command): Command {
  return command
    .option('--label <text>', 'a note of yours')
    .option('--capacity <n>', 'turns it may run at a time', wholeNumber(1, 10_000))
    .option('--models <a,b>', 'upstream models it may use (default: all)', commaList)
    .option('--tier <n>', 'lower tiers are used first', wholeNumber(0, 1000))
    .option('--team-uid <uid>', 'the team that is billed (warp; default: its first team)')
    .addOption(lendOption())
    .option('--free', 'it is on a free plan: it never replaces another free account that is used up')
    .option('--standby', 'keep it in reserve until the pool needs it');
}

export function lendOption(): Option {
  const option = new Option('--lend <to>', 'who may borrow it: any session, or only the gateway');
  return option.choices(['any', 'gateway']);
}

/** Throws UsageError, which begins with `refusal`, where the pool would not take `value`. */
export function mustFit(schema: z.ZodType, value: unknown, refusal: string): void {
  const { error } = schema.safeParse(value);
  if (error === undefined) return;
  const problems = error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`);
  throw new UsageError(`${refusal}: ${problems.join('; ')}.`);
}

export const noKeyGiven =
  'The account needs a key: give --api-key KEY, --api-key - with the key on standard input, or ACCOUNT_API_KEY.';

/** A credential given as a word, or with `-` on standard input. */
export async function readSecret(given: string | undefined, actions: CliActions): Promise<string> {
  const secret = (given === '-' ? await actions.readStdin() : given)?.trim();
  if (secret !== undefined && secret !== '') return secret;
  throw new UsageError(given === '-' ? 'Standard input held no key.' : noKeyGiven);
}
