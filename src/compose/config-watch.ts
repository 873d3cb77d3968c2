import { readFileSync, type Stats, unwatchFile, watchFile } from 'node:fs';
import { basename } from 'node:path';
import type { Config } from '../config.ts';
import type { ConfigStanding, RoutingSettings } from '../core/configured-routes.ts';
import type { Clock } from '../lib/clock.ts';
import { errorMessage } from '../lib/errors.ts';
import type { Logger } from '../lib/log/logger.ts';

interface ConfigWatchOptions {
  readonly config: Pick<Config, 'providers' | 'sources' | 'rereadConfigFile'>;
  /** Names of the providers that take turns in this process. */
  readonly providers: readonly string[];
  readonly clock: Clock;
  readonly logger: Logger;
}

interface ConfiguredGateway {
  configure(routing: RoutingSettings): void;
}

/**
 * Its state is looked at, not watched: a watch on a folder misses what changes behind links, as in a Kubernetes volume, and has no
 * events of a mounted folder in a container or over a network.
 */
const lookEveryMs = 1_000;
/** Editors write a file in several steps. */
const settledMs = 200;

/** Reads the configuration file again when it changes, and on SIGHUP. What needs a restart is said in the log. */
export class ConfigWatch {
  readonly #options: ConfigWatchOptions;
  readonly #file: string;
  #gateway: ConfiguredGateway | undefined;
  /** What cannot change while the service runs. */
  readonly #fixed: string;
  #text: string | undefined;
  #standing: ConfigStanding;
  #cancelRead: (() => void) | undefined;
  readonly #onHangup = () => this.#read(true);
  readonly #onChange = () => this.#readIn(settledMs);

  constructor(options: ConfigWatchOptions, file: string) {
    this.#options = options;
    this.#file = file;
    this.#standing = { status: 'ok', loaded_at: this.#time() };
    this.#text = this.#readText();
    this.#fixed = fixedParts(options.config);
  }

  /** From now on the gateway gets what changes. */
  start(gateway: ConfiguredGateway): void {
    this.#gateway = gateway;
    process.on('SIGHUP', this.#onHangup);
    watchFile(this.#file, { persistent: false, interval: lookEveryMs }, this.#onChange);
    // A change before the first look would be part of what later ones are compared with.
    this.#readIn(lookEveryMs);
  }

  get standing(): ConfigStanding {
    return this.#standing;
  }

  /** Reads the file now, whether it has changed or not. */
  reload(): ConfigStanding {
    this.#cancelRead?.();
    this.#read(true);
    return this.#standing;
  }

  close(): void {
    process.off('SIGHUP', this.#onHangup);
    this.#cancelRead?.();
    unwatchFile(this.#file, this.#onChange);
  }

  #readIn(delayMs: number): void {
    this.#cancelRead?.();
    this.#cancelRead = this.#options.clock.after(delayMs, () => this.#read(false));
  }

  #read(isAsked: boolean): void {
    const { config, logger } = this.#options;
    const text = this.#readText();
    if (!isAsked && text === this.#text) return;
    this.#text = text;
    try {
      const read = config.rereadConfigFile();
      this.#checkProviders(read);
      this.#gateway?.configure(read);
      this.#standing = { status: 'ok', loaded_at: this.#time() };
      logger.info({ file: this.#file, routes: read.routes.length }, 'the configuration file is read again');
      const fixed = fixedParts(read);
      if (fixed !== this.#fixed)
        logger.warn(
          'providers and sources of the configuration file have changed: they count after a restart',
        );
    } catch (error) {
      // Anyone may read the health: it does not show the folder.
      const reason = errorMessage(error);
      logger.error(
        `the configuration file was changed and is refused; what it said before stays in force: ${reason}`,
      );
      const shown = reason.replaceAll(this.#file, basename(this.#file));
      this.#standing = { ...this.#standing, status: 'error', error: shown };
    }
  }

  /** Throws for a route to a provider that this process does not have. */
  #checkProviders({ routes }: RoutingSettings): void {
    const { providers } = this.#options;
    for (const { model, candidates } of routes) {
      const missing = candidates.find(({ provider }) => !providers.includes(provider));
      if (missing)
        throw new Error(
          `The route "${model}" names the new provider "${missing.provider}": restart the service.`,
        );
    }
  }

  #readText(): string | undefined {
    try {
      return readFileSync(this.#file, 'base64');
    } catch {
      return undefined;
    }
  }

  #time(): string {
    return new Date(this.#options.clock.now()).toISOString();
  }
}

function fixedParts({ providers, sources }: Pick<Config, 'providers' | 'sources'>): string {
  return JSON.stringify([providers, sources]);
}

/** Says in the log that the file, which was not there at the start, was made. Answers how to end that. */
export function lookForNewFile(file: string, logger: Pick<Logger, 'warn'>): () => void {
  const tell = ({ ino }: Stats) => {
    if (ino !== 0) logger.warn({ file }, 'there is a configuration file now: it counts after a restart');
  };
  watchFile(file, { persistent: false, interval: lookEveryMs }, tell);
  return () => unwatchFile(file, tell);
}
