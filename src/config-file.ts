import { dirname } from 'node:path';
import { parse as parseYaml, YAMLError } from 'yaml';
import { z } from 'zod';
import { withoutNulls } from './core/null-fields.ts';
import { readTextFile } from './lib/read-text.ts';
import { safeAddress } from './settings.ts';
import { resolveSources, type SourceSettings, sourcesSchema, sourceTypes } from './source-settings.ts';

/**
 * warp2api.yaml: what does not fit into a variable. Unknown fields are faults; one without a value, such as a section whose lines are
 * all commented out, counts as left out.
 */

const envName = z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/, 'must be the name of an environment variable');
const text = z.string().min(1);

const oauth2 = z
  .strictObject({
    type: z.literal('oauth2'),
    token_url: safeAddress,
    client_id: text,
    client_secret: text.optional(),
    client_secret_env: envName.optional(),
    device_authorization_url: safeAddress.optional(),
    scope: text.optional(),
    quota_url: safeAddress.optional(),
  })
  .refine((given) => given.client_secret === undefined || given.client_secret_env === undefined, {
    message: 'give client_secret or client_secret_env, not both',
    path: ['client_secret'],
  });
const apiKey = z.strictObject({
  type: z.literal('api_key'),
  check_url: safeAddress.optional(),
});
const providerName = z
  .string()
  .regex(/^[a-z][a-z0-9-]{0,31}$/, 'must be a name of a-z, 0-9 and -')
  .refine((name) => name !== 'warp' && name !== 'sandbox', 'is built in: choose another name');

const configFile = z.strictObject({
  aliases: z.record(text, text).default({}),
  providers: z.record(providerName, z.discriminatedUnion('type', [oauth2, apiKey])).default({}),
  sources: sourcesSchema,
});

export type ConfiguredProvider =
  | {
      readonly type: 'oauth2';
      readonly tokenUrl: string;
      readonly clientId: string;
      readonly clientSecret: string | undefined;
      readonly deviceAuthorizationUrl: string | undefined;
      readonly scope: string | undefined;
      readonly quotaUrl: string | undefined;
    }
  | { readonly type: 'api_key'; readonly checkUrl: string | undefined };

export interface ConfigFile {
  readonly aliases: Readonly<Record<string, string>>;
  readonly providers: Readonly<Record<string, ConfiguredProvider>>;
  /** Where replenishing draws accounts from, in order. */
  readonly sources: readonly SourceSettings[];
}

export const emptyConfigFile: ConfigFile = { aliases: {}, providers: {}, sources: [] };

/** Adds every fault found to `problems`. Secrets that the file only names come from the environment. */
export function readConfigFile(file: string, environment: NodeJS.ProcessEnv, problems: string[]): ConfigFile {
  let content: unknown;
  let given = '';
  try {
    given = readTextFile(file);
    content = parseYaml(given, { prettyErrors: false }) ?? {};
  } catch (error) {
    problems.push(`CONFIG_FILE ${file} cannot be read: ${reasonOfUnreadable(error, given)}`);
    return emptyConfigFile;
  }
  const result = configFile.safeParse(withoutNulls(configFile, content));
  if (!result.success) {
    for (const issue of result.error.issues) {
      problems.push(`CONFIG_FILE ${file}: ${issue.path.join('.') || 'the file'}: ${reasonOf(issue)}.`);
    }
    return emptyConfigFile;
  }
  const providers = Object.entries(result.data.providers).map(([name, given]) => {
    if (given.type === 'api_key') return [name, { type: given.type, checkUrl: given.check_url }] as const;
    const { client_secret_env: variable } = given;
    const secret = variable === undefined ? given.client_secret : environment[variable]?.trim();
    if (variable !== undefined && !secret) {
      problems.push(
        `CONFIG_FILE ${file}: providers.${name}.client_secret_env: ${variable} is not set in the environment.`,
      );
    }
    return [
      name,
      {
        type: given.type,
        tokenUrl: given.token_url,
        clientId: given.client_id,
        clientSecret: secret,
        deviceAuthorizationUrl: given.device_authorization_url,
        scope: given.scope,
        quotaUrl: given.quota_url,
      },
    ] as const;
  });
  const sources = resolveSources(result.data.sources, environment, dirname(file), (problem) =>
    problems.push(`CONFIG_FILE ${file}: ${problem}`),
  );
  return { aliases: result.data.aliases, providers: Object.fromEntries(providers), sources };
}

/** The place and the kind of the fault. The parser's message quotes what it read, which may be a secret. */
function reasonOfUnreadable(error: unknown, given: string): string {
  if (error instanceof YAMLError) {
    const before = given.slice(0, error.pos[0]).split('\n');
    const place = `line ${before.length}, column ${(before.at(-1)?.length ?? 0) + 1}`;
    return `${place} is not valid YAML (${error.code}).`;
  }
  if (given !== '') return 'it is not valid YAML: put quotes around a value that begins with * or &.';
  return error instanceof Error ? error.message : String(error);
}

/** A faulty key of a record says in an inner issue what is wrong with it. */
function reasonOf(issue: z.core.$ZodIssue): string {
  if (issue.code === 'invalid_key') return issue.issues[0]?.message ?? issue.message;
  if (issue.code === 'invalid_union') return wordsFor(issue);
  if (issue.code === 'invalid_type' && issue.message.endsWith('received undefined')) return 'is missing';
  return issue.message;
}

/** The types that there are, where the given one is none of them. */
function wordsFor(issue: z.core.$ZodIssue): string {
  return issue.path[0] === 'sources'
    ? `must be one of ${sourceTypes.join(', ')}`
    : 'must be oauth2 or api_key';
}
