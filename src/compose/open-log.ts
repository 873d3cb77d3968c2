import { isatty } from 'node:tty';
import { styleText } from 'node:util';
import type { Config } from '../config.ts';
import { createLineWriter, gatherLines, type LineWriter, openLogFile } from '../lib/log/log-file.ts';
import { createLogger, type Logger } from '../lib/log/logger.ts';
import type { ReadableOptions } from '../lib/log/readable-log.ts';

export type LogSettings = Pick<Config, 'logLevel' | 'logFormat' | 'logFile' | 'secrets'>;

/** Where a service logs to. A file is opened again on SIGHUP, which is how log rotation tells that it moved it. */
export async function openLog({ logLevel, logFormat, logFile, secrets }: LogSettings): Promise<Logger> {
  if (logFile === undefined) return createLogger(logLevel, await openOutput(logFormat), secrets);
  const file = openLogFile(logFile);
  process.on('SIGHUP', () => file.reopen());
  const lines =
    logFormat === 'text' ? await forPeople(file, { hasColors: false, hasDates: true }) : gatherLines(file);
  return createLogger(logLevel, lines, secrets);
}

export async function openOutput(format: Config['logFormat']): Promise<LineWriter> {
  const lines = createLineWriter(() => 1);
  const isTerminal = isatty(1);
  if (format === 'json' || (format === 'auto' && !isTerminal)) return gatherLines(lines);
  // Node knows NO_COLOR, FORCE_COLOR, and terminals without colours.
  const hasColors = styleText('red', 'x', { stream: process.stdout }) !== 'x';
  return forPeople(lines, { hasColors, hasDates: !isTerminal });
}

/** Loaded where it is wanted: services write JSON. */
async function forPeople(
  lines: LineWriter,
  look: Pick<ReadableOptions, 'hasColors' | 'hasDates'>,
): Promise<LineWriter> {
  const [{ readableLog }, { turnText }] = await Promise.all([
    import('../lib/log/readable-log.ts'),
    import('../gateway/records/turn-text.ts'),
  ]);
  return readableLog(lines, { ...look, sentences: { turn: turnText } });
}
