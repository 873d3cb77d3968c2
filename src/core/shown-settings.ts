import { z } from 'zod';

/** One environment variable, as the operator sees it. */
const setting = z.object({
  name: z.string(),
  /** What it is about: `services`, `access`, `pool`, `turns`, `storage`, `logs`, `network`, `usage`, `tracing`, or a provider's name. */
  group: z.string(),
  /** As it was written. Of a secret, and of an address, only what names its place; null where nothing of it is shown. */
  value: z.string().nullable(),
  is_set: z.boolean(),
  source: z.enum(['environment', '.env', 'default', 'unset']),
  default: z.string().nullable(),
  is_secret: z.boolean(),
  help: z.string(),
});
export type ShownSetting = z.infer<typeof setting>;

const configFile = z.object({
  path: z.string(),
  /** `absent`: there was none when the service started. `error`: it was changed and is refused, and what it said before counts. */
  status: z.enum(['ok', 'error', 'absent']),
  error: z.string().nullable(),
  loaded_at: z.iso.datetime().nullable(),
  /** Sections that count without a restart once the file is saved. */
  reloaded: z.array(z.string()),
  /** Sections that count after a restart. */
  after_restart: z.array(z.string()),
  providers: z.array(z.object({ name: z.string(), type: z.string(), server: z.string().nullable() })),
  sources: z.array(z.object({ name: z.string(), type: z.string() })),
});

const store = z.object({
  /** What it keeps: `accounts`, `state` (conversations and stored responses), `usage` (client keys and the ledger). */
  name: z.enum(['accounts', 'state', 'usage']),
  kind: z.string(),
  reachable: z.boolean(),
  writable: z.boolean(),
});

const disk = z.object({
  folder: z.string(),
  /** Null where the disk does not answer. */
  free_bytes: z.number().nullable(),
  total_bytes: z.number().nullable(),
});

/** A service and its settings; what neither holds secrets nor changes with the state of its stores. */
export const serviceFacts = z.object({
  /** The services of its process. */
  runs: z.enum(['both', 'pool', 'gateway']),
  version: z.string(),
  node: z.string(),
  platform: z.string(),
  pid: z.int(),
  started_at: z.iso.datetime(),
  uptime_seconds: z.int(),
  data_dir: z.string(),
  config_file: configFile,
  disks: z.array(disk),
  settings: z.array(setting),
});
export type ServiceFacts = z.infer<typeof serviceFacts>;

/** What `GET /api/settings` of either service answers. */
export const shownSettings = z.object({
  service: z.enum(['gateway', 'pool']),
  stores: z.array(store),
  ...serviceFacts.shape,
});
export type ShownSettings = z.infer<typeof shownSettings>;
