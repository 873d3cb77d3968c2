import { createRequire } from 'node:module';
import { dirname } from 'node:path';
import { z } from 'zod';
import { withoutNulls } from './core/null-fields.ts';
import { providerNamePattern } from './core/provider.ts';
import { errorMessage } from './lib/errors.ts';
import { readTextFile } from './lib/files/read-text.ts';
import { isJsonObject } from './lib/parse-json.ts';
import type { ConfigReader, ConfiguredProvider } from './providers/definition.ts';
import { providerTypes, reservedNames, typeOf } from './providers/registry.ts';
import { resolveSources, type SourceSettings, sourcesSchema, sourceTypes } from './source-settings.ts';

/**
 * warp2api.yaml: what does not fit into a variable. Unknown fields are faults; one without a value, such as a section whose lines are
 * all commented out, counts as left out.
 */

// Loaded where there is a file.
const require = createRequire(import.meta.url);
const yaml = () => require('yaml') as typeof import('yaml');

const text = z.string().min(1);
const nameRule = 'must be a name of a-z, 0-9 and -';
const providerName = z
  .string()
  .regex(providerNamePattern, nameRule)
  .refine((name) => !reservedNames.has(name), 'is built in: choose another name');
const [firstType, ...otherTypes] = providerTypes.map(({ schema }) => schema as z.core.$ZodTypeDiscriminable);

const configFile = z.strictObject({
  aliases: z.record(text, text).default({}),
  providers: z
    .record(
      providerName,
      z.discriminatedUnion('type', [firstType as z.core.$ZodTypeDiscriminable, ...otherTypes]),
    )
    .default({}),
  sources: sourcesSchema,
});

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
    content = yaml().parse(given, { prettyErrors: false }) ?? {};
  } catch (error) {
    problems.push(`CONFIG_FILE ${file} cannot be read: ${reasonOfUnreadable(error, given)}`);
    return emptyConfigFile;
  }
  if (namesPrototype(content)) {
    problems.push(`CONFIG_FILE ${file}: providers.__proto__: ${nameRule}.`);
    return emptyConfigFile;
  }
  const result = configFile.safeParse(withoutNulls(configFile, content));
  if (!result.success) {
    for (const issue of result.error.issues) {
      problems.push(`CONFIG_FILE ${file}: ${issue.path.join('.') || 'the file'}: ${reasonOf(issue)}.`);
    }
    return emptyConfigFile;
  }
  const fault = (problem: string) => problems.push(`CONFIG_FILE ${file}: ${problem}`);
  const providers = Object.entries(result.data.providers as Record<string, ConfiguredProvider>).map(
    ([name, given]) => {
      const reader: ConfigReader = {
        name,
        variable(field, variable) {
          const value = environment[variable]?.trim();
          if (!value) reader.fault(field, `${variable} is not set in the environment`);
          return value;
        },
        fault: (field, problem) => fault(`providers.${name}.${field}: ${problem}.`),
      };
      return [name, typeOf(given).read(given, reader)] as const;
    },
  );
  const sources = resolveSources(result.data.sources, environment, dirname(file), fault);
  return { aliases: result.data.aliases, providers: Object.fromEntries(providers), sources };
}

/** Records leave this name out without a word. */
function namesPrototype(content: unknown): boolean {
  const providers = isJsonObject(content) ? content['providers'] : undefined;
  return isJsonObject(providers) && Object.hasOwn(providers, '__proto__');
}

/** The place and the kind of the fault. The parser's message quotes what it read, which may be a secret. */
function reasonOfUnreadable(error: unknown, given: string): string {
  if (error instanceof yaml().YAMLError) {
    const before = given.slice(0, error.pos[0]).split('\n');
    const place = `line ${before.length}, column ${(before.at(-1)?.length ?? 0) + 1}`;
    return `${place} is not valid YAML (${error.code}).`;
  }
  if (given !== '') return 'it is not valid YAML: put quotes around a value that begins with * or &.';
  return errorMessage(error);
}

/** A faulty key of a record says in an inner issue what is wrong with it. */
function reasonOf(issue: z.core.$ZodIssue): string {
  if (issue.code === 'invalid_key') return issue.issues[0]?.message ?? issue.message;
  if (issue.code === 'invalid_union') return wordsFor(issue);
  if (issue.code === 'invalid_type' && issue.message.endsWith('received undefined')) return 'is missing';
  return issue.message;
}

const types = providerTypes.map(({ type }) => type);
const typeWords = [types.slice(0, -1).join(', '), types.at(-1)].join(' or ');

/** The types that there are, where the given one is none of them. */
function wordsFor(issue: z.core.$ZodIssue): string {
  return issue.path[0] === 'sources' ? `must be one of ${sourceTypes.join(', ')}` : `must be ${typeWords}`;
}
