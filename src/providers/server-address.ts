import { z } from 'zod';
import { isPublicHost, isServerHost } from '../lib/addresses/ip-addresses.ts';
import { isLoopbackHost } from '../lib/addresses/loopback.ts';
import { httpUrl } from '../lib/setting.ts';
import type { ProviderServer } from './definition.ts';

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
