import type { z } from 'zod';
import type { Provider, ProviderHttp, UpstreamProvider } from '../core/provider.ts';
import type { Clock } from '../lib/clock.ts';
import type { Logger } from '../lib/log/logger.ts';
import type { SettingTable, ValuesOf } from '../lib/setting.ts';

/** What a process gives its providers. */
export interface ProviderContext {
  readonly http: ProviderHttp;
  /** Never uses a connection twice. */
  readonly tokenHttp: ProviderHttp;
  readonly userAgent: string;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Where the built-in upstream listens; it is started on first use. */
  readonly sandboxUrl: () => Promise<string>;
}

/** Where a provider is reached; `doctor` checks that it is. */
export interface ProviderServer {
  readonly url: string;
  /** Whether turns fail there over HTTP/1.1; undefined where the version makes no difference. */
  readonly needsHttp2?: boolean;
  /** Its name may lead to the public internet only. */
  readonly isPublic?: boolean;
}

/** A provider that is there without being configured. Its code is loaded with `load`; the rest of the entry is light. */
export interface ProviderDefinition<Table extends SettingTable = SettingTable> {
  readonly name: string;
  readonly settings?: Table;
  /** The variable with a key of the owner's, which becomes an account. */
  readonly accountSetting?: keyof Table & string;
  /** The gateway sends turns to it. */
  readonly answersTurns?: true;
  /** One of the configuration file with its name takes its place. */
  readonly isReplaceable?: true;
  readonly server?: (values: ValuesOf<Table>) => ProviderServer;
  readonly load: (context: ProviderContext, values: ValuesOf<Table>) => Promise<Provider | UpstreamProvider>;
}

/** What a provider of the configuration file is read with. */
export interface ConfigReader {
  /** What the file calls it. */
  readonly name: string;
  /** The value of an environment variable that `field` names; a missing one is a fault. */
  variable(field: string, name: string): string | undefined;
  fault(field: string, problem: string): void;
}

export type ConfiguredProvider = { readonly type: string; readonly [field: string]: unknown };

/** A kind of provider that `providers:` of the configuration file may name. */
export interface ProviderType<
  Schema extends z.ZodType<{ type: string }> = z.ZodType<{ type: string }>,
  Configured extends ConfiguredProvider = ConfiguredProvider,
> {
  readonly type: string;
  readonly answersTurns?: true;
  readonly schema: Schema;
  readonly read: (given: z.output<Schema>, reader: ConfigReader) => Configured;
  /** What of it must never be shown. */
  readonly secretsOf?: (configured: Configured) => readonly (string | undefined)[];
  readonly server: (configured: Configured) => ProviderServer | undefined;
  readonly load: (
    name: string,
    configured: Configured,
    context: ProviderContext,
  ) => Promise<Provider | UpstreamProvider>;
}

export function defineProvider<const Table extends SettingTable>(
  definition: ProviderDefinition<Table>,
): ProviderDefinition<Table> {
  return definition;
}

export function defineType<Schema extends z.ZodType<{ type: string }>, Configured extends ConfiguredProvider>(
  type: ProviderType<Schema, Configured>,
): ProviderType<Schema, Configured> {
  return type;
}
