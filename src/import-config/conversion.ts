import { createHash } from 'node:crypto';
import { isPublicHost, isServerHost } from '../lib/addresses/ip-addresses.ts';
import { isLoopbackHost } from '../lib/addresses/loopback.ts';
import { vendors } from '../providers/openai-compatible/vendors.ts';

/** A server that speaks one of the protocols that `providers:` knows. */
type ServerType = 'openai_compatible' | 'anthropic_compatible' | 'gemini';

export interface ConvertedCandidate {
  readonly provider: string;
  readonly model: string;
  readonly tier?: number;
  readonly weight?: number;
  readonly when?: { readonly images?: boolean; readonly max_context?: number };
}
interface ConvertedRoute {
  readonly model: string;
  readonly candidates: readonly ConvertedCandidate[];
}
interface ConvertedModel {
  readonly context_window?: number;
  readonly max_output?: number;
  readonly price?: Readonly<Record<string, number>>;
}

/** Where a key lies: in a variable, or at a place of the file that was read. Keys themselves are never kept. */
interface FoundKey {
  readonly provider: string;
  readonly variable?: string | undefined;
  readonly place: string;
}

const builtIn: Readonly<Record<string, readonly [ServerType, string]>> = {
  anthropic: ['anthropic_compatible', 'https://api.anthropic.com'],
  gemini: ['gemini', 'https://generativelanguage.googleapis.com'],
  ...Object.fromEntries(
    Object.entries(vendors).flatMap(([name, { baseUrl }]) =>
      baseUrl === undefined ? [] : [[name, ['openai_compatible', baseUrl]]],
    ),
  ),
};

/** The most that a candidate's weight may be. */
const mostWeight = 1_000_000;

/** What becomes of another program's configuration, as it is read. */
export class Conversion {
  readonly #providers = new Map<string, { type: ServerType; base_url: string; private_network?: true }>();
  readonly #routes = new Map<string, ConvertedCandidate[]>();
  readonly #keys = new Map<string, FoundKey>();
  readonly #notes = new Set<string>();
  readonly aliases: Record<string, string> = {};
  readonly models: Record<string, ConvertedModel> = {};

  /** Something that has no counterpart, in a sentence. */
  note(sentence: string): void {
    this.#notes.add(sentence);
  }

  /** The provider of that address: a built-in one where it is that, else one that the file gets. Undefined for no server's. */
  provider(type: ServerType, given: string, wanted?: string): string | undefined {
    const url = plainUrl(given);
    if (url === undefined) return undefined;
    if (/[?#@]/.test(given))
      this.note(
        `${url}: what its address had beside host and path was left out; a key in it becomes an account.`,
      );
    const known = Object.entries(builtIn).find(([, [of, base]]) => of === type && isSameServer(base, url));
    if (known) return known[0];
    const same = [...this.#providers].find(([, one]) => one.type === type && one.base_url === url);
    if (same) return same[0];
    const { hostname, protocol, host } = new URL(url);
    const isOpen = isLoopbackHost(hostname) || (protocol === 'https:' && isPublicHost(hostname));
    const name = this.#freeName(wanted ?? host);
    this.#providers.set(name, { type, base_url: url, ...(!isOpen && { private_network: true as const }) });
    return name;
  }

  /** `value`: what tells one key from another; only its digest is kept. */
  key(provider: string, value: string, place: string, variable?: string): void {
    const digest = createHash('sha256').update(value).digest('hex');
    const id = `${provider} ${variable ?? digest}`;
    if (!this.#keys.has(id)) this.#keys.set(id, { provider, variable, place });
  }

  add(model: string, ...candidates: readonly ConvertedCandidate[]): void {
    this.#routes.set(model, [...this.candidatesOf(model), ...candidates]);
  }

  candidatesOf(model: string): readonly ConvertedCandidate[] {
    return this.#routes.get(model) ?? [];
  }

  get routes(): readonly ConvertedRoute[] {
    return [...this.#routes].map(([model, candidates]) => ({ model, candidates: withinBounds(candidates) }));
  }

  get notes(): readonly string[] {
    return [...this.#notes];
  }

  /** How the keys become accounts, a command each. */
  get commands(): readonly string[] {
    const withKey = new Set([...this.#keys.values()].map(({ provider }) => provider));
    const used = new Set(this.routes.flatMap(({ candidates }) => candidates.map(({ provider }) => provider)));
    return [
      ...[...this.#keys.values()].map(({ provider, variable, place }) =>
        variable === undefined
          ? `warp2api account add --provider ${provider} --api-key - # then paste the key of ${place}`
          : `printf %s "$${variable}" | warp2api account add --provider ${provider} --api-key -`,
      ),
      ...[...used]
        .filter((provider) => !withKey.has(provider))
        .map((provider) => {
          const mayHaveNone = this.#providers.has(provider) || vendors[provider]?.takesNoKey;
          const words = mayHaveNone
            ? '# with --api-key - if it needs a key'
            : '--api-key - # then paste its key';
          return `warp2api account add --provider ${provider} ${words}`;
        }),
    ];
  }

  /** The sections of warp2api.yaml that are not empty. */
  get sections(): Readonly<Record<string, unknown>> {
    const all = {
      providers: Object.fromEntries(this.#providers),
      routes: this.routes,
      aliases: this.aliases,
      models: this.models,
    };
    return Object.fromEntries(Object.entries(all).filter(([, section]) => Object.keys(section).length > 0));
  }

  #freeName(wanted: string): string {
    const plain = wanted
      .toLowerCase()
      .replace(/[^a-z0-9]+/g, '-')
      .replace(/^[^a-z]+|-+$/g, '');
    const name = (plain || 'server').slice(0, 28);
    const isTaken = (one: string) =>
      this.#providers.has(one) || Object.hasOwn(builtIn, one) || one === 'warp';
    if (!isTaken(name)) return name;
    for (let number = 2; ; number += 1) if (!isTaken(`${name}-${number}`)) return `${name}-${number}`;
  }
}

/** Without what only one call has behind the base, and without what may be a secret. Undefined where it is no server's. */
function plainUrl(given: string): string | undefined {
  if (!/^https?:\/\//i.test(given) || !URL.canParse(given)) return undefined;
  const { protocol, host, hostname, port, pathname } = new URL(given);
  // Where a server listens on all addresses, this machine is meant.
  const isAny = hostname === '0.0.0.0' || hostname === '[::]';
  if (!isAny && !isServerHost(hostname)) return undefined;
  const server = isAny ? `127.0.0.1${port && `:${port}`}` : host;
  const path = pathname
    .replace(/\/(chat\/completions|v1\/messages|v1beta(\/models)?)\/*$/, '')
    .replace(/\/+$/, '');
  return `${protocol}//${server}${path}`;
}

/** Weights keep their proportion. */
function withinBounds(candidates: readonly ConvertedCandidate[]): readonly ConvertedCandidate[] {
  const most = Math.max(...candidates.map(({ weight = 1 }) => weight));
  if (most <= mostWeight) return candidates;
  return candidates.map((one) => ({ ...one, weight: ((one.weight ?? 1) * mostWeight) / most }));
}

function isSameServer(base: string, url: string): boolean {
  const [one, other] = [new URL(base), new URL(url)];
  const host = (address: URL) => address.host.replace('localhost', '127.0.0.1');
  return host(one) === host(other);
}
