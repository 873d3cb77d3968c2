import { z } from 'zod';
import type { Provider, ProviderHttp, UpstreamProvider } from '../core/provider.ts';
import { isPublicHost, isServerHost } from '../lib/addresses/ip-addresses.ts';
import { isLoopbackHost } from '../lib/addresses/loopback.ts';
import type { Clock } from '../lib/clock.ts';
import type { Logger } from '../lib/log/logger.ts';
import { httpUrl, type SettingTable, type ValuesOf } from '../lib/setting.ts';

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

/** What the configuration file says of a server that the owner names by its address. */
export const serverFields = {
  base_url: httpUrl.optional(),
  private_network: z.boolean().default(false),
};

const callPath = /\/(chat\/completions|v1\/messages|responses|:\w*generateContent)$/i;

/** This machine may be named; another private network only where the entry says that it is meant. */
export function atMeantAddress<
  Schema extends z.ZodType<{ readonly base_url?: string | undefined; readonly private_network: boolean }>,
>(schema: Schema) {
  return schema
    .refine(({ base_url: url }) => url === undefined || !callPath.test(url), {
      message: 'must end before the path of a call, such as /chat/completions',
      path: ['base_url'],
    })
    .refine(({ base_url: url }) => url === undefined || isServerHost(new URL(url).hostname), {
      message: "must be a server, and not a cloud's metadata or a link-local or unspecified address",
      path: ['base_url'],
      abort: true,
    })
    .refine(
      ({ base_url: url, private_network: isMeant }) => url === undefined || isMeant || isPublicUrl(url),
      {
        message:
          'must be https at a public address, or on this machine; for a server in a network of yours add private_network: true',
        path: ['base_url'],
      },
    );
}

function isPublicUrl(url: string): boolean {
  const { protocol, hostname } = new URL(url);
  return isLoopbackHost(hostname) || (protocol === 'https:' && isPublicHost(hostname));
}

/** Where a server of the configuration file is reached. `mayBePrivate`: its entry says `private_network: true`. */
export function configuredServer(
  baseUrl: string | undefined,
  mayBePrivate: boolean,
): ProviderServer | undefined {
  if (baseUrl === undefined) return undefined;
  const { origin, hostname } = new URL(baseUrl);
  return { url: origin, isPublic: !mayBePrivate && !isLoopbackHost(hostname) };
}
