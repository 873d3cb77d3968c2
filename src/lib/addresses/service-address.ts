interface Place {
  /** As a service is bound to it. */
  readonly host: string;
  readonly port: number;
}

/** All addresses of this machine, and how it reaches itself then. */
const wildcards: Readonly<Record<string, string>> = { '0.0.0.0': '127.0.0.1', '::': '[::1]' };

/** Where a service is reached from this machine, whatever it is bound to. */
export function localUrl({ host, port }: Place): string {
  const name = wildcards[host] ?? (host.includes(':') ? `[${host}]` : host);
  return `http://${name}:${port}`;
}

/**
 * Where the `other` service answers a client that has found this one at `seen`: on the same host, unless it is bound to
 * another one. `url` is where it listens in this process. Undefined where that is not known.
 */
export function addressBeside(
  seen: string,
  own: Pick<Place, 'host'>,
  other: Place,
  url: string | undefined,
): string | undefined {
  const port = url === undefined ? other.port : Number(new URL(url).port);
  if (port === 0) return undefined;
  const isElsewhere = other.host !== own.host && !Object.hasOwn(wildcards, other.host);
  const address = new URL(isElsewhere ? localUrl({ host: other.host, port }) : seen);
  address.port = String(port);
  return address.origin;
}
