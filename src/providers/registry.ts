import { answering, isUpstream, type Provider, type UpstreamProvider } from '../core/provider.ts';
import type { SettingTable } from '../lib/setting.ts';
import { anthropic, anthropicCompatible } from './anthropic/index.ts';
import { apiKey } from './api-key/index.ts';
import type {
  ConfiguredProvider,
  ProviderContext,
  ProviderDefinition,
  ProviderServer,
  ProviderType,
} from './definition.ts';
import { gemini, geminiServer } from './gemini/index.ts';
import { oauth2 } from './oauth2/index.ts';
import { openaiCompatible, openaiVendors } from './openai-compatible/index.ts';
import { oz } from './oz/index.ts';
import { sandbox } from './sandbox/index.ts';
import { warp } from './warp/index.ts';

/**
 * All providers, and the kinds that the configuration file may name: the only list of them. Another one is a folder beside this file
 * and a line here. Plain model names go to the first that has accounts.
 */
const definitions = [
  warp,
  oz,
  sandbox,
  ...openaiVendors,
  anthropic,
  gemini,
] as unknown as readonly ProviderDefinition[];
export const providerTypes = [
  oauth2,
  apiKey,
  openaiCompatible,
  anthropicCompatible,
  geminiServer,
] as unknown as readonly ProviderType[];

export const providerSettings: SettingTable = Object.assign(
  {},
  ...definitions.map(({ settings }) => settings),
);

export function providerOfSetting(setting: string): string | undefined {
  return definitions.find(({ settings = {} }) => Object.hasOwn(settings, setting))?.name;
}

/** Names that no provider of the configuration file may have. */
export const reservedNames: ReadonlySet<string> = new Set(
  definitions.filter(({ isReplaceable }) => !isReplaceable).map(({ name }) => name),
);

export interface ProviderConfig {
  /** By the name of the environment variable. */
  readonly settings: Readonly<Record<string, unknown>>;
  /** Those of the configuration file. One with the name of a replaceable provider takes its place. */
  readonly configured: Readonly<Record<string, ConfiguredProvider>>;
}

export interface Providers {
  /** Every provider by name: what the pool keeps accounts of. */
  readonly all: ReadonlyMap<string, Provider>;
  /** Those whose models the gateway offers, in the order in which plain names look for one. */
  readonly upstreams: readonly [UpstreamProvider, ...UpstreamProvider[]];
  /** Answers while the pool has no account. */
  readonly trial: UpstreamProvider;
}

export async function createProviders(config: ProviderConfig, context: ProviderContext): Promise<Providers> {
  const present = definitions.filter(({ name }) => config.configured[name] === undefined);
  const loaded = await Promise.all([
    ...present.map((definition) => definition.load(context, config.settings)),
    ...Object.entries(config.configured).map(([name, given]) => typeOf(given).load(name, given, context)),
  ]);
  const trial = loaded.filter(isUpstream).find(({ isTrial }) => isTrial);
  const [first, ...others] = answering(loaded);
  if (!trial || !first) throw new Error('No provider answers turns.');
  return {
    all: new Map(loaded.map((provider) => [provider.name, provider])),
    upstreams: [first, ...others],
    trial,
  };
}

export interface EnvironmentKey {
  readonly provider: string;
  readonly setting: string;
  readonly key: string;
}

/**
 * The keys of the owner in the environment: those that have a setting, and those of the providers that are named. `fault` hears of
 * names that have none.
 */
export function environmentKeys(
  { settings, configured }: ProviderConfig,
  named: readonly string[],
  environment: NodeJS.ProcessEnv,
  fault: (problem: string) => void,
): EnvironmentKey[] {
  const own = definitions.flatMap(({ name: provider, accountSetting: setting }) => {
    const key = setting === undefined ? undefined : settings[setting];
    return setting !== undefined && typeof key === 'string' ? [{ provider, setting, key }] : [];
  });
  const others = [...new Set(named)].flatMap((provider) => {
    const setting = `${provider.toUpperCase().replaceAll('-', '_')}_API_KEY`;
    const key = environment[setting]?.trim();
    const isKnown = provider in configured || definitions.some(({ name }) => name === provider);
    if (!isKnown) fault(`there is no provider "${provider}"`);
    else if (!key) fault(`${setting} is not set in the environment`);
    else if (own.every((one) => one.setting !== setting)) return [{ provider, setting, key }];
    return [];
  });
  return [...own, ...others];
}

/** Names of the providers that the gateway sends turns of real accounts to. */
export function answeringNames(configured: ProviderConfig['configured']): string[] {
  return [
    ...definitions
      .filter(({ name, answersTurns }) => answersTurns && !(name in configured))
      .map(({ name }) => name),
    ...Object.keys(configured).filter((name) => typeOf(configured[name] as ConfiguredProvider).answersTurns),
  ];
}

/** Where the providers are reached whose address is a matter of the configuration. */
export function serversOf({ settings, configured }: ProviderConfig): [name: string, ProviderServer][] {
  const builtIn = definitions.map(({ name, server }) => [name, server?.(settings)] as const);
  const own = Object.entries(configured).map(([name, given]) => [name, typeOf(given).server(given)] as const);
  return [...builtIn, ...own].flatMap(([name, server]) => (server ? [[name, server]] : []));
}

/** Names of servers that may lead to the public internet only. */
export function publicHostsOf(config: ProviderConfig): ReadonlySet<string> {
  const servers = serversOf(config).filter(([, { isPublic }]) => isPublic);
  return new Set(servers.map(([, { url }]) => new URL(url).hostname));
}

export function secretsOf(given: ConfiguredProvider): readonly (string | undefined)[] {
  return typeOf(given).secretsOf?.(given) ?? [];
}

export function typeOf({ type }: ConfiguredProvider): ProviderType {
  const found = providerTypes.find((candidate) => candidate.type === type);
  if (!found) throw new Error(`There is no provider type "${type}".`);
  return found;
}
