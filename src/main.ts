import { flushCompileCache } from 'node:module';
import { resolve } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import type { CliActions } from './cli/actions.ts';
import { runProgram } from './cli/program.ts';
import type { RunningServices } from './compose.ts';
import { type Config, loadConfig, settingsForStop } from './config.ts';
import { misspeltSettings, readEnvironment, unreadTelemetry } from './environment.ts';
import { localUrl } from './lib/addresses/loopback.ts';
import { decodeText } from './lib/files.ts';
import { isSameFile } from './lib/log/log-file.ts';
import type { Logger } from './lib/log/logger.ts';
import { trustCertificates } from './lib/network/extra-certificates.ts';
import {
  readNotes,
  removeNote,
  startedBy,
  starterOf,
  stopSignal,
  writeNote,
} from './lib/process/service-process.ts';
import type { KnownSecrets } from './lib/secrets/known-secrets.ts';
import { plainText } from './lib/shown-text.ts';
import { checkRunMode } from './run-mode.ts';

const root = resolve(import.meta.dirname, '..');
const stopSignals = ['SIGTERM', 'SIGINT', 'SIGQUIT'] as const;

/** For all that has to be stored and given back once turns have ended; the longest is a new token, with 20 s. */
const closeLimitMs = 60_000;

/** Read when a command needs it: the help has to work beside a faulty `.env`. */
let environment: NodeJS.ProcessEnv | undefined;
function variables(): NodeJS.ProcessEnv {
  environment ??= readEnvironment();
  return environment;
}
/** Read last: what a command says may hold none of its secrets. */
let config: Config | undefined;
function configure(): Config {
  config = loadConfig(variables());
  trustCertificates(config.extraCertificates);
  return config;
}

// What a command does not need it does not load: that is most of the time a command takes.
const actions: CliActions = {
  async serve(mode) {
    const config = configure();
    const [{ startServices }, { openLog }] = await Promise.all([
      import('./compose.ts'),
      import('./compose/open-log.ts'),
    ]);
    const logger = await openLog(config);
    for (const warning of misspeltSettings()) logger.warn(warning);
    for (const { name, near } of unreadTelemetry(readEnvironment()))
      logger.warn(
        `${name} is not read${near ? `: did you mean ${near}?` : '; docs/tracing.md says which are'}`,
      );
    // With a log file a hangup means that the file was moved; without one that the terminal was closed.
    // With a configuration file and no terminal it means that the file is to be read again.
    const isHangupHeard =
      config.logFile !== undefined || (config.configFile !== undefined && !process.stdin.isTTY);
    const signals = isHangupHeard ? stopSignals : ([...stopSignals, 'SIGHUP'] as const);
    const run = async (onLost: (error: Error) => void) => {
      const services = await startServices(config, mode, logger, onLost).catch((error: Error) => {
        if (config.logFile !== undefined && !isSameFile(config.logFile.path, process.stderr.fd))
          logger.fatal(error.message);
        throw error;
      });
      writeNote(config.dataDir, {
        service: mode,
        root,
        urls: [services.gatewayUrl, services.poolUrl].filter((url) => url !== undefined),
        holdsPool: mode !== 'gateway' || !config.usePoolService,
        startedBy: startedBy(variables()),
      });
      return services;
    };
    try {
      await runUntilStopped(logger, signals, run, config.shutdownMs);
    } finally {
      removeNote(config.dataDir);
    }
  },
  async sandbox(options) {
    const { startSandboxAlone } = await import('./compose.ts');
    const logger = await openCommandLog('INFO');
    await runUntilStopped(logger, [...stopSignals, 'SIGHUP'], () => startSandboxAlone(options, logger));
  },
  openAdmin: async () => {
    const config = configure();
    const { isOwnPool, openPool } = await import('./compose/open-pool.ts');
    const pool = await openPool(config, await openCommandLog('ERROR', config.secrets));
    if (pool.by === 'address' && !isOwnPool(config)) {
      actions.writeError(`Asking the pool at ${config.poolUrl}, which POOL_SERVICE_URL names.\n`);
    }
    return Object.assign(pool.admin, { [Symbol.asyncDispose]: () => pool[Symbol.asyncDispose]() });
  },
  async askGateway(path, url, call) {
    const { askGateway } = await import('./compose/ask-gateway.ts');
    return await askGateway(configure(), path, url, call);
  },
  async examine({ wantsAnswer }) {
    const { examine } = await import('./doctor/doctor.ts');
    const { createLogger } = await import('./lib/log/logger.ts');
    return await examine({
      misspeltSettings,
      loadConfig: configure,
      logger: createLogger('FATAL'),
      wantsAnswer,
      clientKey: variables()['CLIENT_KEY'] || undefined,
    });
  },
  async migrate(options) {
    const { movePool } = await import('./compose/whole-store.ts');
    return movePool(configure(), options);
  },
  async rotateKey({ newKeyFile }) {
    const { rotateMasterKey } = await import('./compose/whole-store.ts');
    return rotateMasterKey(configure(), newKeyFile);
  },
  async backUp(folder) {
    const { backUp } = await import('./compose/whole-store.ts');
    return backUp(configure(), folder);
  },
  async restore(folder, replaces) {
    const { restore } = await import('./compose/whole-store.ts');
    return restore(configure(), folder, replaces);
  },
  async importConfig(file) {
    const { importConfig } = await import('./import-config/import-config.ts');
    return importConfig(file);
  },
  resolvedSettings({ isForStart }) {
    const config = configure();
    if (isForStart) {
      for (const mode of config.usePoolService
        ? (['both', 'pool', 'gateway'] as const)
        : (['gateway'] as const))
        checkRunMode(config, mode);
    }
    return {
      poolUrl: localUrl(config.pool),
      gatewayUrl: localUrl(config.gateway),
      usePoolService: config.usePoolService,
      logDir: config.logDir,
      dataDir: config.dataDir,
    };
  },
  allSettings: () => configure().shownSettings,
  runningServices() {
    const { dataDir, logDir, shutdownSeconds } = settingsForStop();
    const services = readNotes(dataDir).map(({ root: ofService, ...note }) =>
      ofService === root ? note : { ...note, otherRoot: ofService },
    );
    return { logDir, dataDir, shutdownSeconds, services };
  },
  accountKeyFromEnvironment: () => variables()['ACCOUNT_API_KEY'],
  readStdin: async () => decodeText(await buffer(process.stdin)),
  write: (output) => void process.stdout.write(plainText(output)),
  writeError: (output) => void process.stderr.write(plainText(config?.secrets.redact(output) ?? output)),
  isTerminal: process.stdout.isTTY === true,
  terminalWidth: process.stdout.isTTY ? process.stdout.columns : undefined,
  wait: (ms) => delay(ms),
};

async function openCommandLog(level: string, secrets?: KnownSecrets): Promise<Logger> {
  const { openOutput } = await import('./compose/open-log.ts');
  const { createLogger } = await import('./lib/log/logger.ts');
  return createLogger(level, await openOutput('auto'), secrets);
}

// A reader that has seen enough, such as `head`, is no failure.
for (const output of [process.stdout, process.stderr])
  output.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') return;
    if (output === process.stdout)
      actions.writeError(
        `warp2api: The output cannot be written (${error.code}): look whether its disk has space.\n`,
      );
    process.exit(1);
  });
process.exitCode = await runProgram(actions, process.argv.slice(2));

/** Starts, waits for a signal or a loss, and closes. A second signal ends the process at once. */
async function runUntilStopped(
  logger: Logger,
  signals: readonly NodeJS.Signals[],
  start: (onLost: (error: Error) => void) => Promise<RunningServices>,
  shutdownMs = 0,
): Promise<void> {
  let lost: Error | undefined;
  const signalled = stopSignal(signals, starterOf(variables()), logger);
  const losing = Promise.withResolvers<void>();
  const end = (error: Error) => {
    lost = error;
    losing.resolve();
  };
  const onLost = (error: Error) => {
    logger.fatal(`a service cannot go on: ${error.message}`);
    end(error);
  };
  process.on('uncaughtException', (error) => {
    logger.fatal({ err: error }, 'an error that nothing expected');
    end(error);
  });
  process.on('unhandledRejection', (error) => {
    logger.error({ err: error }, 'an unhandled failure');
  });
  const services = await start(onLost).catch((error: unknown) => {
    // What may still be open must not outlive a signal.
    for (const signal of signals) process.removeAllListeners(signal);
    throw error;
  });
  // For the next start: at the end of the process it may be too late.
  flushCompileCache();
  await Promise.race([signalled, losing.promise]);
  // Nothing else may keep the process alive while it closes, and nothing may keep it for ever.
  const limit = setTimeout(() => {
    logger.fatal('something could not be closed; what it was to store may be lost');
    process.exit(1);
  }, shutdownMs + closeLimitMs);
  await services.close();
  clearTimeout(limit);
  logger.info('stopped');
  if (lost) throw lost;
}
