import type { LookupAddress, LookupAllOptions } from 'node:dns';
import type { LookupFunction } from 'node:net';

/** The shape of `dns.lookup` when all addresses are asked for. */
export type LookupAll = (
  hostname: string,
  options: LookupAllOptions,
  callback: (error: NodeJS.ErrnoException | null, addresses: LookupAddress[]) => void,
) => void;

/**
 * Looks a name up once, judges all its addresses and returns the same ones, so that a name cannot show one address to the judge
 * and lead to another. `judge` returns what is wrong with them.
 */
export function judgedLookup(
  lookup: LookupAll,
  judge: (addresses: readonly string[], hostname: string) => Error | undefined,
): LookupFunction {
  return (hostname, options, callback) => {
    lookup(hostname, { ...options, all: true }, (error, addresses) => {
      const fault =
        error ??
        judge(
          (addresses ?? []).map(({ address }) => address),
          hostname,
        );
      const [first] = addresses ?? [];
      if (fault) callback(fault, '', 4);
      else if (options.all) callback(null, addresses);
      else callback(null, first?.address ?? '', first?.family);
    });
  };
}
