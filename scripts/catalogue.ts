import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'smol-toml';

// Makes src/gateway/models/catalogue.json of a git repository of models.dev (MIT), which has one TOML file a model:
//   node scripts/catalogue.ts PATH_OF_THE_REPOSITORY

/** Our names of providers, and theirs. Deployments of Azure have names of their owners. */
const providers: Readonly<Record<string, string>> = {
  openai: 'openai',
  anthropic: 'anthropic',
  gemini: 'google',
  openrouter: 'openrouter',
  groq: 'groq',
  mistral: 'mistral',
  deepseek: 'deepseek',
  xai: 'xai',
  together: 'togetherai',
  fireworks: 'fireworks-ai',
};

interface Price {
  readonly input?: number | undefined;
  readonly output?: number | undefined;
  readonly cache_read?: number | undefined;
  readonly cache_write?: number | undefined;
}
interface Entry {
  readonly base_model?: string;
  readonly tool_call?: boolean;
  readonly reasoning?: boolean;
  readonly structured_output?: boolean;
  readonly limit?: { readonly context?: number; readonly output?: number };
  readonly modalities?: { readonly input?: readonly string[]; readonly output?: readonly string[] };
  readonly cost?: Price & {
    readonly tiers?: readonly (Price & { readonly tier: { readonly type: string; readonly size: number } })[];
    readonly context_over_200k?: Price;
  };
}

const [repository = ''] = process.argv.slice(2);
const git = (...args: string[]) =>
  execFileSync('git', ['-C', repository, ...args], { encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 });
const files = new Set(git('ls-tree', '-r', '--name-only', 'HEAD').split('\n'));
const read = (file: string): Entry => parse(git('show', `HEAD:${file}`)) as Entry;

function whole(entry: Entry): Entry {
  const base = `models/${entry.base_model}.toml`;
  if (entry.base_model === undefined || !files.has(base)) return entry;
  const from = read(base);
  return { ...from, ...entry, limit: { ...from.limit, ...entry.limit } };
}

function priceOf({ input, output, cache_read, cache_write }: Price): Price | undefined {
  if (input === undefined || output === undefined) return undefined;
  return { input, output, cache_read, cache_write };
}

function trimmed(entry: Entry) {
  const { limit, modalities, cost } = entry;
  const price = cost && priceOf(cost);
  const tier = cost?.tiers?.find(({ tier: { type } }) => type === 'context');
  const dearer = tier ? priceOf(tier) : cost?.context_over_200k && priceOf(cost.context_over_200k);
  const can = [
    entry.tool_call && 'tools',
    modalities?.input?.includes('image') && 'vision',
    entry.reasoning && 'reasoning',
    entry.structured_output && 'structured_output',
  ];
  return {
    context_window: limit?.context || undefined,
    max_output: limit?.output || undefined,
    can: can.filter((ability) => ability !== false && ability !== undefined).join(' '),
    price: price && {
      ...price,
      ...(dearer && { above: { tokens: tier?.tier.size ?? 200_000, ...dearer } }),
    },
  };
}

const found = Object.entries(providers).map(([name, theirs]) => {
  const folder = `providers/${theirs}/models/`;
  const models = [...files]
    .filter((file) => file.startsWith(folder) && file.endsWith('.toml'))
    .map((file) => [file.slice(folder.length, -'.toml'.length), whole(read(file))] as const)
    .filter(([, { modalities }]) => modalities?.output?.includes('text') ?? true)
    .map(([id, entry]) => `    ${JSON.stringify(id)}: ${JSON.stringify(trimmed(entry))}`);
  return `  ${JSON.stringify(name)}: {\n${models.join(',\n')}\n  }`;
});
const date = git('log', '-1', '--format=%cs').trim();
const head = `"source": "https://models.dev (MIT)", "date": ${JSON.stringify(date)}`;
const target = join(import.meta.dirname, '../src/gateway/models/catalogue.json');
writeFileSync(target, `{ ${head}, "providers": {\n${found.join(',\n')}\n} }\n`);
