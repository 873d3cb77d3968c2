import { resolve } from 'node:path';
import { z } from 'zod';
import type { ConfigPath } from './core/configured-routes.ts';
import { providerNamePattern } from './core/provider.ts';
import { errorCode, errorMessage } from './lib/errors.ts';
import { readTextFile } from './lib/files.ts';
import { openVariables } from './lib/secrets/known-secrets.ts';
import { path, safeAddress, safeUrl, variableName } from './lib/setting.ts';

/** `sources:` of the configuration file: where replenishing draws accounts from, in order. */

const name = z
  .string()
  .regex(/^[a-z][a-z0-9_-]{0,31}$/, 'must be 1 to 32 characters out of a-z 0-9 _ -, a letter first')
  .refine(
    (text) => !['standby', 'api', 'env', 'login', 'import', 'sandbox'].includes(text),
    'is taken by the pool itself',
  );
const provider = z.string().regex(providerNamePattern, 'must be a provider name such as "warp"');
const seconds = (longest: number) => z.int().min(1).max(longest);
const timeout = seconds(600).default(30);
const money = z.number().positive().max(1_000_000);

const kind = <Type extends string, Fields extends z.ZodRawShape>(type: Type, fields: Fields) =>
  z.strictObject({ type: z.literal(type), name: name.optional(), ...fields });

const file = kind('file', {
  /** A file, or a folder of them, in the import format; relative to the folder of the configuration file. */
  path: z.string().min(1).pipe(path),
});

const command = kind('command', {
  /** Program and arguments; no shell reads them. */
  command: z
    .array(z.string())
    .min(1)
    .refine((argv) => argv[0] !== '', 'must begin with a program'),
  timeout_seconds: timeout,
  /** Added to PATH, HOME and LANG, which is all it sees of the environment otherwise. */
  env: z.record(variableName, z.string()).default({}),
});

const webhook = kind('webhook', {
  url: safeAddress,
  timeout_seconds: timeout,
  /** Header names, and the environment variables that hold their values. */
  header_env: z
    .record(z.string().regex(/^[A-Za-z0-9-]{1,64}$/, 'must be a header name'), variableName)
    .default({}),
});

const adminKey = {
  admin_key_env: variableName.optional(),
  admin_key_file: z.string().min(1).pipe(path).optional(),
};

const openrouterKeys = kind('openrouter_keys', {
  ...adminKey,
  base_url: safeUrl.default('https://openrouter.ai'),
  /** What one key may spend, in US dollars. */
  limit: money,
  limit_reset: z.enum(['daily', 'weekly', 'monthly']).optional(),
});

const openaiServiceAccounts = kind('openai_service_accounts', {
  ...adminKey,
  base_url: safeUrl.default('https://api.openai.com'),
  project_id: z.string().regex(/^[A-Za-z0-9_-]{1,128}$/, 'must be the id of a project, such as proj_abc'),
});

const deviceLogin = kind('device_login', {
  provider,
});

const kinds = [file, command, webhook, openrouterKeys, openaiServiceAccounts, deviceLogin] as const;
const source = z.discriminatedUnion('type', kinds);

export const sourceTypes = kinds.map(({ shape }) => shape.type.value);

export const sourcesSchema = z.array(source).max(50).default([]);

/** A source with what it needs from the environment and from files read, every path absolute, and a name of its own. */
export type SourceSettings = NonNullable<ReturnType<typeof resolveSource>>;

/** Reads what `sources:` names. `folder` is the configuration file's; faults are reported with their path. */
export function resolveSources(
  given: z.output<typeof sourcesSchema>,
  environment: NodeJS.ProcessEnv,
  folder: string,
  report: (path: ConfigPath, problem: string) => void,
): SourceSettings[] {
  const taken = new Set<string>();
  return given.flatMap((one, index) => {
    const place = ['sources', index];
    const named = one.name ?? freeName(one.type, taken);
    if (taken.has(named)) report([...place, 'name'], `another source is called "${named}" already`);
    taken.add(named);
    const reader = createReader(environment, folder, place, report);
    const resolved = resolveSource(one, named, reader, folder, environment);
    return resolved === undefined ? [] : [resolved];
  });
}

function resolveSource(
  one: z.output<typeof source>,
  named: string,
  reader: ReturnType<typeof createReader>,
  folder: string,
  environment: NodeJS.ProcessEnv,
) {
  switch (one.type) {
    case 'file':
      return { type: one.type, name: named, path: resolve(folder, one.path) };
    case 'command': {
      const kept = openVariables.flatMap((variable) => {
        const value = environment[variable];
        return value === undefined ? [] : [[variable, value] as const];
      });
      return {
        type: one.type,
        name: named,
        command: one.command,
        timeoutMs: one.timeout_seconds * 1000,
        /** All of it: nothing else of ours is passed on. */
        environment: { ...Object.fromEntries(kept), ...one.env },
        folder,
      };
    }
    case 'webhook': {
      const headers = Object.entries(one.header_env).map(([header, variable]) => [
        header.toLowerCase(),
        reader.variable(['header_env', header], variable),
      ]);
      return {
        type: one.type,
        name: named,
        url: one.url,
        timeoutMs: one.timeout_seconds * 1000,
        headers: Object.fromEntries(headers) as Record<string, string>,
      };
    }
    case 'openrouter_keys': {
      const key = reader.adminKey(one);
      const { limit, limit_reset: limitReset } = one;
      return key === undefined
        ? undefined
        : { type: one.type, name: named, adminKey: key, baseUrl: one.base_url, limit, limitReset };
    }
    case 'openai_service_accounts': {
      const key = reader.adminKey(one);
      return key === undefined
        ? undefined
        : { type: one.type, name: named, adminKey: key, baseUrl: one.base_url, projectId: one.project_id };
    }
    case 'device_login':
      return { type: one.type, name: named, provider: one.provider };
  }
}

/** Values that the file only names. */
function createReader(
  environment: NodeJS.ProcessEnv,
  folder: string,
  place: ConfigPath,
  report: (path: ConfigPath, problem: string) => void,
) {
  const variable = (path: ConfigPath, variableName: string): string => {
    const value = environment[variableName]?.trim() ?? '';
    if (value === '') report([...place, ...path], `the environment variable ${variableName} is not set`);
    return value;
  };
  return {
    variable,
    adminKey(one: {
      readonly admin_key_env?: string | undefined;
      readonly admin_key_file?: string | undefined;
    }) {
      if ((one.admin_key_env === undefined) === (one.admin_key_file === undefined)) {
        report(place, 'give one of admin_key_env and admin_key_file');
        return undefined;
      }
      if (one.admin_key_env !== undefined) return variable(['admin_key_env'], one.admin_key_env);
      try {
        const key = readTextFile(resolve(folder, one.admin_key_file ?? '')).trim();
        if (key === '') report([...place, 'admin_key_file'], 'the file is empty');
        return key;
      } catch (error) {
        const code = errorCode(error) ?? errorMessage(error);
        report([...place, 'admin_key_file'], `${one.admin_key_file} cannot be read (${code})`);
        return undefined;
      }
    },
  };
}

function freeName(type: string, taken: ReadonlySet<string>): string {
  for (let number = 1; ; number += 1) {
    const candidate = number === 1 ? type : `${type}-${number}`;
    if (!taken.has(candidate)) return candidate;
  }
}
