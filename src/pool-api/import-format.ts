import { createHash, randomBytes, scrypt } from 'node:crypto';
import { z } from 'zod';
import { unknownFields } from '../core/near-names.ts';
import { withoutNulls } from '../core/null-fields.ts';
import { isJsonObject, parseJson } from '../lib/parse-json.ts';
import { sealText, unsealText } from '../lib/secrets/sealed-bytes.ts';
import { importedAccount } from './account-schema.ts';
import { PoolError } from './errors.ts';

/** One account of a file in the import format. */
export type ImportedAccount = z.output<typeof importedAccount>;

/** One line that is not blank. `line` counts from 1. */
export type ImportLine =
  | { readonly line: number; readonly account: ImportedAccount }
  /** `problem` says what is wrong and never quotes the line, which may hold a secret. */
  | { readonly line: number; readonly problem: string };

const maxLineLength = 64 * 1024;

/**
 * Reads the import format: JSON Lines, each `{provider, email?, api_key}` or `{provider, email?, refresh_token}` with
 * the other fields of a new account. A bad line never spoils the others.
 */
export function parseImport(text: string): ImportLine[] {
  return text
    .replace(/^\uFEFF/, '')
    .split('\n')
    .flatMap((line, index) => (line.trim() === '' ? [] : [parseLine(line, index + 1)]));
}

function parseLine(text: string, line: number): ImportLine {
  if (text.length > maxLineLength) return { line, problem: `is longer than ${maxLineLength} characters` };
  if (text.includes('\uFFFD')) return { line, problem: 'is not valid UTF-8: save the file as UTF-8' };
  // The parser's own message would quote what it read.
  const value = parseJson(text);
  if (value === undefined) return { line, problem: 'is not valid JSON' };
  if (!isJsonObject(value)) return { line, problem: 'is not a JSON object' };
  const result = importedAccount.safeParse(withoutNulls(importedAccount, value));
  if (result.success) return { line, account: result.data };
  const { issues } = result.error;
  const hasUnknown = issues.some(({ code }) => code === 'unrecognized_keys');
  // A field that seems to be missing may be there under another name.
  const told = hasUnknown ? issues.filter(({ code }) => code !== 'custom') : issues;
  return { line, problem: told.map(problemOf).join('; ') };
}

const knownFields = Object.keys(importedAccount.shape);

function problemOf(issue: z.core.$ZodIssue): string {
  const place = issue.path.join('.');
  if (issue.code === 'unrecognized_keys') {
    return `has ${issue.keys.length === 1 ? 'an unknown field' : 'unknown fields'}: ${unknownFields(issue.keys, knownFields)}`;
  }
  return place === '' ? issue.message : `"${place}" is not valid: ${issue.message}`;
}

/**
 * Accounts in the import format, sealed with a passphrase (scrypt, AES-256-GCM). Text: a header line of JSON, then one
 * line for each part. A part is bound to the header and to its place, and the last one says that it is, so that nothing
 * can be altered, left out, repeated or cut off unnoticed.
 */
const header = z.strictObject({
  warp2api_export: z.literal(1),
  kdf: z.literal('scrypt'),
  // Bounded, so that a foreign file cannot take all memory.
  n: z.union(
    [14, 15, 16, 17, 18].map((log) => z.literal(2 ** log)) as [
      z.ZodLiteral<number>,
      ...z.ZodLiteral<number>[],
    ],
  ),
  r: z.literal(8),
  p: z.literal(1),
  salt: z.string().regex(/^[A-Za-z0-9_-]{22,64}$/),
  cipher: z.literal('aes-256-gcm'),
});
type Header = z.infer<typeof header>;

const scryptN = 2 ** 17;

/** Whether a text begins as a sealed export does. */
export function isSealedExport(text: string): boolean {
  return /^\s*\{"warp2api_export":/.test(text);
}

/** Seals part after part; each is text in the import format. Yields lines, each with its line feed. */
export async function* sealExport(parts: AsyncIterable<string>, passphrase: string): AsyncGenerator<string> {
  const head: Header = {
    warp2api_export: 1,
    kdf: 'scrypt',
    n: scryptN,
    r: 8,
    p: 1,
    salt: randomBytes(16).toString('base64url'),
    cipher: 'aes-256-gcm',
  };
  const first = JSON.stringify(head);
  const key = await keyFrom(passphrase, head);
  yield `${first}\n`;
  let index = 0;
  let held: string | undefined;
  for await (const part of parts) {
    if (held !== undefined) {
      yield sealPart(key, first, index, false, held);
      index += 1;
    }
    held = part;
  }
  yield sealPart(key, first, index, true, held ?? '');
}

/** The parts of a sealed export. Throws PoolError `invalid_request` for a wrong passphrase and for an altered file. */
export async function* openExport(text: string, passphrase: string): AsyncGenerator<string> {
  // A byte order mark counts as white space.
  const [first = '', ...lines] = text
    .trim()
    .split('\n')
    .map((line) => line.trimEnd());
  const head = header.safeParse(parseJson(first)).data;
  if (head === undefined) {
    const message = 'This is no sealed export that this version can read.';
    throw new PoolError('invalid_request', message, { param: 'sealed' });
  }
  const key = await keyFrom(passphrase, head);
  if (lines.length === 0) throw notWhole();
  for (const [index, line] of lines.entries()) {
    yield openPart(key, first, index, index === lines.length - 1, line);
  }
}

function keyFrom(passphrase: string, { n, r, p, salt }: Header): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const options = { N: n, r, p, maxmem: 256 * n * r };
    scrypt(passphrase.normalize('NFKC'), Buffer.from(salt, 'base64url'), 32, options, (error, key) =>
      error === null ? resolve(key) : reject(error),
    );
  });
}

function boundTo(first: string, index: number, isLast: boolean): Buffer {
  return createHash('sha256')
    .update(JSON.stringify([first, index, isLast]))
    .digest();
}

function sealPart(key: Buffer, first: string, index: number, isLast: boolean, part: string): string {
  return `${sealText(key, part, boundTo(first, index, isLast))}\n`;
}

function openPart(key: Buffer, first: string, index: number, isLast: boolean, line: string): string {
  let part: string | undefined;
  try {
    part = unsealText(key, line, boundTo(first, index, isLast));
  } catch (error) {
    if (index > 0) throw notWhole(error);
    const message = 'The passphrase does not fit, or the file was altered or cut off.';
    throw new PoolError('invalid_request', message, { cause: error, param: 'passphrase' });
  }
  if (part === undefined) throw notWhole();
  return part;
}

function notWhole(cause?: unknown): PoolError {
  return new PoolError('invalid_request', 'The sealed export was altered or cut off.', {
    cause,
    param: 'sealed',
  });
}
