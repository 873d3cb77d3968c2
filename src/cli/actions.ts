import type { ShownSetting } from '../core/shown-settings.ts';
import type { ServiceNote } from '../lib/process/service-process.ts';
import type { PoolAdmin } from '../pool-api/pool.ts';

export interface SandboxCommand {
  readonly port: number;
  readonly host: string;
  readonly tls?: boolean;
  /** Where the certificate is written. */
  readonly certificate?: string;
  readonly requireHttp2?: boolean;
}

export interface GatewayCall {
  readonly method: 'POST' | 'PATCH';
  readonly body?: unknown;
}

/** What the commands need from the rest of the program; handed in, so that the command line knows no service. */
export interface CliActions {
  serve(mode: 'both' | 'pool' | 'gateway'): Promise<void>;
  sandbox(options: SandboxCommand): Promise<void>;
  /** The pool of whichever process holds it, or its store itself. */
  openAdmin(): Promise<PoolAdmin & AsyncDisposable>;
  /** What the gateway of these settings, or the one at `url`, answers its operator; to a GET unless `call` says otherwise. */
  askGateway(path: string, url?: string, call?: GatewayCall): Promise<unknown>;
  examine(options: { readonly wantsAnswer: boolean }): Promise<readonly Finding[]>;
  /** Seals all credentials under another master key; needs the store for itself. */
  rotateKey(options: { readonly newKeyFile?: string | undefined }): Promise<KeyRotation>;
  /** Moves the whole pool from SQLite to an empty PostgreSQL database; answers how many rows, by table. */
  migrate(options: {
    readonly from?: string | undefined;
    readonly to: string;
  }): Promise<Readonly<Record<string, number>>>;
  /** Copies the databases into a new folder, whether services run or not. */
  backUp(folder: string): Promise<MadeBackup>;
  /** Puts the databases of a backup in their places; those that are there only with `replaces`. Needs them for itself. */
  restore(
    folder: string,
    replaces: boolean,
  ): Promise<{ readonly restored: readonly string[]; readonly kept: readonly string[] }>;
  /** Another program's configuration as a warp2api.yaml. Throws with a message that says what to do. */
  importConfig(file: string): Promise<ImportedConfig>;
  /** Throws when the configuration is faulty, for a start also when the services would refuse it. */
  resolvedSettings(options: { readonly isForStart: boolean }): ResolvedSettings;
  /** Every setting; of secrets only whether they are set. Throws when the configuration is faulty. */
  allSettings(): readonly ShownSetting[];
  /** The services that run with this DATA_DIR. Never throws. */
  runningServices(): {
    readonly logDir: string;
    readonly dataDir: string;
    readonly shutdownSeconds: number;
    /** `otherRoot` is the folder of another checkout. */
    readonly services: readonly (Omit<ServiceNote, 'root'> & { readonly otherRoot?: string })[];
  };
  /** The value of ACCOUNT_API_KEY, so that a key need not be an argument. */
  accountKeyFromEnvironment(): string | undefined;
  readStdin(): Promise<string>;
  write(text: string): void;
  writeError(text: string): void;
  /** A person sits before what `write` writes to. */
  readonly isTerminal: boolean;
  /** How many characters fit into a line of it; undefined where it is no terminal. */
  readonly terminalWidth: number | undefined;
  wait(ms: number): Promise<void>;
}

export interface MadeBackup {
  readonly folder: string;
  readonly files: readonly { readonly name: string; readonly path: string; readonly bytes: number }[];
  /** What is not in it, and how to keep that. */
  readonly notes: readonly string[];
}

export interface ImportedConfig {
  readonly yaml: string;
  /** What could not be converted. */
  readonly notes: readonly string[];
  /** How its keys become accounts. */
  readonly commands: readonly string[];
}

/** One thing that was looked at. A problem's message says what to do. */
export interface Finding {
  readonly name: string;
  readonly result: 'ok' | 'problem' | 'skipped';
  readonly message: string;
}

export interface KeyRotation {
  readonly accounts: number;
  readonly keyId: string;
  readonly formerKeyId: string;
  readonly keyFile: string;
  /** The key is in MASTER_KEY, which only its owner can change; the new one is in `keyFile`. */
  readonly isInEnvironment: boolean;
}

/** Settings that scripts around the program need; no secrets. */
export interface ResolvedSettings {
  readonly poolUrl: string;
  readonly gatewayUrl: string;
  readonly usePoolService: boolean;
  readonly logDir: string;
  readonly dataDir: string;
}
