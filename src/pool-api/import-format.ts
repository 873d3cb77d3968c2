import type { z } from 'zod';
import { withoutNulls } from '../core/null-fields.ts';
import { unknownFields } from '../core/unknown-field.ts';
import { isJsonObject, parseJson } from '../lib/parse-json.ts';
import { importedAccount } from './schema.ts';

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
