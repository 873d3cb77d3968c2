import { statfs } from 'node:fs/promises';
import type { Config } from '../config.ts';
import type { ConfigStanding } from '../core/configured-routes.ts';
import type { ServiceFacts } from '../core/shown-settings.ts';
import { type Clock, within } from '../lib/clock.ts';
import { version } from '../lib/version.ts';
import { serversOf } from '../providers/registry.ts';
import type { RunMode } from '../run-mode.ts';

/** A network disk may hang. */
const diskLimitMs = 1_000;

export function serviceFacts(
  config: Config,
  {
    runs,
    folders,
    clock,
  }: { readonly runs: RunMode; readonly folders: readonly string[]; readonly clock: Clock },
  configWatch: { readonly standing: ConfigStanding } | undefined,
): () => Promise<ServiceFacts> {
  const startedAt = clock.now();
  const begunAt = clock.monotonic();
  return async () =>
    config.secrets.redactAll({
      runs,
      version,
      node: process.version,
      platform: `${process.platform} ${process.arch}`,
      pid: process.pid,
      started_at: new Date(startedAt).toISOString(),
      uptime_seconds: Math.floor((clock.monotonic() - begunAt) / 1000),
      data_dir: config.dataDir,
      config_file: shownConfigFile(config, configWatch?.standing, startedAt),
      disks: await Promise.all(folders.map((folder) => spaceOf(folder, clock))),
      settings: [...config.shownSettings],
    }) as ServiceFacts;
}

function shownConfigFile(
  config: Config,
  standing: ConfigStanding | undefined,
  startedAt: number,
): ServiceFacts['config_file'] {
  const { configFile, configFilePlace, providers, sources, providerSettings: settings } = config;
  const servers = new Map(serversOf({ settings, configured: providers }));
  const isThere = configFile !== undefined;
  return {
    path: configFilePlace,
    status: isThere ? (standing?.status ?? 'ok') : 'absent',
    error: standing?.error ?? null,
    loaded_at: isThere ? (standing?.loaded_at ?? new Date(startedAt).toISOString()) : null,
    reloaded: ['aliases', 'routes', 'models'],
    after_restart: ['providers', 'sources'],
    providers: Object.entries(providers).map(([name, { type }]) => {
      const url = servers.get(name)?.url;
      return { name, type, server: url !== undefined && URL.canParse(url) ? placeOf(new URL(url)) : null };
    }),
    sources: sources.map(({ name, type }) => ({ name, type })),
  };
}

function placeOf({ origin, pathname }: URL): string {
  return pathname === '/' ? origin : origin + pathname;
}

async function spaceOf(folder: string, clock: Clock): Promise<ServiceFacts['disks'][number]> {
  const space = await within(
    statfs(folder).catch(() => undefined),
    clock,
    diskLimitMs,
  );
  return {
    folder,
    free_bytes: space ? space.bavail * space.bsize : null,
    total_bytes: space ? space.blocks * space.bsize : null,
  };
}
