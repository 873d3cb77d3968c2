import { createRequire } from 'node:module';
import { dirname } from 'node:path';
import { z } from 'zod';
import type { ConfigPath, RoutingSettings } from './core/configured-routes.ts';
import { unknownFields } from './core/near-names.ts';
import { withoutNulls } from './core/null-fields.ts';
import { plainRule } from './core/plain-rule.ts';
import { providerNamePattern } from './core/provider.ts';
import { errorMessage } from './lib/errors.ts';
import { readTextFile } from './lib/files.ts';
import { isJsonObject } from './lib/parse-json.ts';
import type { ConfigReader, ConfiguredProvider } from './providers/definition.ts';
import { answeringNames, providerTypes, reservedNames, typeOf } from './providers/registry.ts';
import { modelsSchema, resolveModels, resolveRoutes, routesSchema } from './route-settings.ts';
import { resolveSources, type SourceSettings, sourcesSchema, sourceTypes } from './source-settings.ts';

/**
 * warp2api.yaml: what does not fit into a variable. Unknown fields are faults; one without a value, such as a section whose lines are
 * all commented out, counts as left out.
 */

// Loaded where there is a file.
const require = createRequire(import.meta.url);
const yaml = () => require('yaml') as typeof import('yaml');

/** What mostly helps, by the code of the parser, whose own words quote the file. */
const yamlAdvice: Readonly<Record<string, string>> = {
  TAB_AS_INDENT: ': indent with spaces, not with tabs',
  BAD_INDENT: ': the lines of one section or list begin in the same column',
  DUPLICATE_KEY: ': this name stands there twice',
  MISSING_CHAR: ': a quote, a bracket, a comma or a colon is missing',
  BLOCK_AS_IMPLICIT_KEY: ': put quotes around a value that has a colon and a space in it',
  MULTILINE_IMPLICIT_KEY: ': a colon and a space are missing after a name, or quotes are not closed',
  BAD_SCALAR_START: ': put quotes around a value that begins with @ or a backtick',
};

/** Its text, and where in it a value stands. */
class ConfigDocument {
  readonly #document: ReturnType<ReturnType<typeof yaml>['parseDocument']>;
  readonly #lines: InstanceType<ReturnType<typeof yaml>['LineCounter']>;
  /** Why it cannot be read; undefined where it can. The parser's own message quotes what it read, which may be a secret. */
  readonly fault: string | undefined;
  readonly content: unknown;

  constructor(text: string) {
    const { parseDocument, LineCounter, isAlias, visit } = yaml();
    this.#lines = new LineCounter();
    this.#document = parseDocument(text, { prettyErrors: false, lineCounter: this.#lines });
    const [error] = this.#document.errors;
    if (error) {
      this.fault = `${this.#placeOf(error.pos[0])} is not valid YAML (${error.code})${yamlAdvice[error.code] ?? ''}.`;
      return;
    }
    let lost: number | undefined;
    visit(this.#document, {
      Alias: (_key, node) => {
        if (isAlias(node) && !node.resolve(this.#document)) lost ??= node.range?.[0];
      },
    });
    try {
      this.content = this.#document.toJS() ?? {};
    } catch {
      const place = lost === undefined ? 'it' : this.#placeOf(lost);
      this.fault = `${place} is not valid YAML: put quotes around a value that begins with * or &.`;
    }
  }

  /** `line 3, column 5`: of the value, or, where it is missing, of what it is missing in. `key`: of that key in it. */
  placeOf(path: ConfigPath, key?: string): string {
    const { isMap, isPair, isScalar, isSeq } = yaml();
    let node: unknown = this.#document.contents;
    let at = 0;
    const note = (one: unknown) => {
      const range = (one as { readonly range?: readonly number[] } | null | undefined)?.range;
      if (range) at = range[0] ?? at;
    };
    note(node);
    for (const step of key === undefined ? path : [...path, key]) {
      if (isMap(node)) {
        const pair = node.items.find(
          (item) => String(isScalar(item.key) ? item.key.value : item.key) === String(step),
        );
        if (!isPair(pair)) break;
        note(pair.key);
        node = pair.value;
      } else if (isSeq(node)) {
        node = node.items[Number(step)];
      } else break;
      const isEmpty = isScalar(node) && node.source === '';
      if (!isEmpty && key === undefined) note(node);
    }
    return this.#placeOf(at);
  }

  #placeOf(offset: number): string {
    const { line, col } = this.#lines.linePos(offset);
    return `line ${line}, column ${col}`;
  }
}

/** What is wrong, by the schema, and where. */
function faultOf(schema: z.ZodType, content: unknown, issue: z.core.$ZodIssue) {
  const path = issue.path as ConfigPath;
  if (issue.code !== 'unrecognized_keys') return { path, key: undefined, reason: reasonOf(issue) };
  const known = fieldsAt(schema, content, path);
  const [key] = issue.keys;
  return { path, key, reason: `there is no field ${unknownFields(issue.keys, known)}` };
}

/** A faulty key of a record says in an inner issue what is wrong with it. */
function reasonOf(issue: z.core.$ZodIssue): string {
  if (issue.code === 'invalid_key') return issue.issues[0]?.message ?? issue.message;
  if (issue.code === 'invalid_type' && issue.message.endsWith('received undefined')) return 'is missing';
  return plainRule(issue.message);
}

function fieldsAt(schema: z.core.$ZodType, value: unknown, path: ConfigPath): string[] {
  const { def } = schema._zod as z.core.$ZodTypes['_zod'];
  const [step, ...others] = path;
  const inner =
    (isJsonObject(value) || Array.isArray(value)) && step !== undefined ? (value as never)[step] : undefined;
  switch (def.type) {
    case 'optional':
    case 'nullable':
    case 'default':
    case 'readonly':
      return fieldsAt(def.innerType, value, path);
    case 'pipe':
      return fieldsAt(def.in, value, path);
    case 'array':
      return fieldsAt(def.element, inner, others);
    case 'record':
      return fieldsAt(def.valueType, inner, others);
    case 'union': {
      const type = isJsonObject(value) ? value['type'] : undefined;
      const meant = def.options.find((one) => one._zod.propValues?.['type']?.has(type as string));
      return meant ? fieldsAt(meant, value, path) : [];
    }
    case 'object': {
      if (step === undefined) return Object.keys(def.shape);
      const field = def.shape[String(step)];
      return field ? fieldsAt(field, inner, others) : [];
    }
    default:
      return [];
  }
}

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
