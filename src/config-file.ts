import { dirname } from 'node:path';
import { z } from 'zod';
import { ConfigDocument, type ConfigPath, faultOf } from './config-document.ts';
import type { RoutingSettings } from './core/configured-routes.ts';
import { withoutNulls } from './core/null-fields.ts';
import { providerNamePattern } from './core/provider.ts';
import { errorMessage } from './lib/errors.ts';
import { readTextFile } from './lib/files/read-text.ts';
import { isJsonObject } from './lib/parse-json.ts';
import type { ConfigReader, ConfiguredProvider } from './providers/definition.ts';
import { answeringNames, providerTypes, reservedNames, typeOf } from './providers/registry.ts';
import { modelsSchema, resolveModels, resolveRoutes, routesSchema } from './route-settings.ts';
import { resolveSources, type SourceSettings, sourcesSchema, sourceTypes } from './source-settings.ts';

/**
 * warp2api.yaml: what does not fit into a variable. Unknown fields are faults; one without a value, such as a section whose lines are
 * all commented out, counts as left out.
 */

const text = z.string().min(1);
const nameRule = 'must be a name of a-z, 0-9 and -';
const providerName = z
  .string()
  .regex(providerNamePattern, nameRule)
  .refine((name) => !reservedNames.has(name), 'is built in: choose another name');
const [firstType, ...otherTypes] = providerTypes.map(({ schema }) => schema as z.core.$ZodTypeDiscriminable);

export const configFileSchema = z.strictObject({
  aliases: z.record(text, text).default({}),
  providers: z
    .record(
      providerName,
      z.discriminatedUnion('type', [firstType as z.core.$ZodTypeDiscriminable, ...otherTypes]),
    )
    .default({}),
  routes: routesSchema,
  models: modelsSchema,
  sources: sourcesSchema,
});

export interface ConfigFile extends RoutingSettings {
  readonly providers: Readonly<Record<string, ConfiguredProvider>>;
  readonly sources: readonly SourceSettings[];
}

export const emptyConfigFile: ConfigFile = {
  aliases: {},
  routes: [],
  models: {},
  providers: {},
  sources: [],
};

/** Adds every fault found to `problems`. Secrets that the file only names come from the environment. */
export function readConfigFile(file: string, environment: NodeJS.ProcessEnv, problems: string[]): ConfigFile {
  const document = readDocument(file);
  if (typeof document === 'string') {
    problems.push(`CONFIG_FILE ${file} cannot be read: ${document}`);
    return emptyConfigFile;
  }
  const { content } = document;
  const report = (path: ConfigPath, problem: string, key?: string) => {
    const place = document.placeOf(path, key);
    const end = problem.endsWith('?') ? '' : '.';
    problems.push(`CONFIG_FILE ${file}, ${place}: ${path.join('.') || 'the file'}: ${problem}${end}`);
  };
  if (namesPrototype(content)) {
    report(['providers', '__proto__'], nameRule);
    return emptyConfigFile;
  }
  const result = configFileSchema.safeParse(withoutNulls(configFileSchema, content));
  if (!result.success) {
    for (const issue of result.error.issues) {
      const { path, key, reason } = faultOf(configFileSchema, content, issue);
      report(path, issue.code === 'invalid_union' ? wordsFor(issue) : reason, key);
    }
    return emptyConfigFile;
  }
  const configured = Object.entries(result.data.providers as Record<string, ConfiguredProvider>).map(
    ([name, given]) => {
      const reader: ConfigReader = {
        name,
        variable(field, variable) {
          const value = environment[variable]?.trim();
          if (!value) reader.fault(field, `${variable} is not set in the environment`);
          return value;
        },
        fault: (field, problem) => report(['providers', name, ...field.split('.')], problem),
      };
      return [name, typeOf(given).read(given, reader)] as const;
    },
  );
  const providers = Object.fromEntries(configured);
  const routes = resolveRoutes(result.data.routes, new Set(answeringNames(providers)), report);
  const sources = resolveSources(result.data.sources, environment, dirname(file), report);
  const { aliases, models } = result.data;
  return { aliases, routes, models: resolveModels(models), providers, sources };
}

/** Why not, where it cannot be read. */
function readDocument(file: string): ConfigDocument | string {
  try {
    const document = new ConfigDocument(readTextFile(file));
    return document.fault ?? document;
  } catch (error) {
    return errorMessage(error);
  }
}

/** Records leave this name out without a word. */
function namesPrototype(content: unknown): boolean {
  const providers = isJsonObject(content) ? content['providers'] : undefined;
  return isJsonObject(providers) && Object.hasOwn(providers, '__proto__');
}

const types = providerTypes.map(({ type }) => type);
const typeWords = [types.slice(0, -1).join(', '), types.at(-1)].join(' or ');

/** The types that there are, where the given one is none of them. */
function wordsFor(issue: z.core.$ZodIssue): string {
  return issue.path[0] === 'sources' ? `must be one of ${sourceTypes.join(', ')}` : `must be ${typeWords}`;
}
