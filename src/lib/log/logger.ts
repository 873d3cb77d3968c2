import { type DestinationStream, type LogFn, type Logger, pino } from 'pino';
import { parseJson } from '../parse-json.ts';
import type { KnownSecrets } from '../secrets/known-secrets.ts';
import { beginningOf, plainJson } from '../shown-text.ts';
import { createLineWriter, type LineWriter } from './line-writer.ts';

export type { Logger } from 'pino';

const errorLevel = 50;

/** Names of fields whose values never reach a log. */
const secretFields = new Set([
  'authorization',
  'api_key',
  'apiKey',
  'id_token',
  'idToken',
  'refresh_token',
  'refreshToken',
  'bearer',
  'credential',
  'masterKey',
  'adminKey',
  'x-api-key',
]);
/** Levels of objects in which they are looked for. */
const fieldDepth = 3;

/**
 * Structured lines on stdout. `level` is DEBUG, INFO, WARNING, ERROR or CRITICAL in any case, or pino's own names. Whatever
 * a line holds of `secrets` is removed, and what a terminal would obey is escaped.
 */
export function createLogger(
  level: string,
  destination: DestinationStream = createLineWriter(() => 1),
  secrets?: KnownSecrets,
): Logger {
  const options = {
    level: pinoLevel(level),
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: {
      level: (label: string) => ({ level: label }),
      log: (fields: object) => withoutSecretFields(fields, fieldDepth),
    },
    serializers: {
      err: (error: unknown) => (error instanceof Error ? pino.stdSerializers.err(error) : error),
    },
    hooks: {
      // Fastify logs a line when it listens, which we do in our own words; it can only be made empty.
      logMethod(this: Logger, values: Parameters<LogFn>, method: LogFn, level: number) {
        if (values.length === 1 && (values[0] as unknown) === '') return;
        if (level < errorLevel && !this.isLevelEnabled('debug')) withoutStack(values);
        method.apply(this, values);
      },
    },
  };
  return pino(options, cleaned(destination, secrets));
}

/** Below an error the program went on as it should: what happened says enough, and where in the code is for developers. */
function withoutStack(values: unknown[]): void {
  const [fields] = values;
  if (typeof fields !== 'object' || fields === null || !('err' in fields) || !(fields.err instanceof Error))
    return;
  const { stack: _stack, ...err } = pino.stdSerializers.err(fields.err);
  values[0] = { ...fields, err };
}

/** Cleans every line, so that the code that logs need not know what is secret or where a text came from. */
function cleaned(
  destination: DestinationStream,
  secrets: KnownSecrets | undefined,
): DestinationStream & Pick<LineWriter, 'isWritable'> {
  return {
    write(line) {
      // A cut between words leaves secrets whole or removes them, and no line of megabytes is searched.
      const short = line.length > longestLine ? shortenedLine(line) : line;
      destination.write(plainJson(secrets?.isIn(short) ? redactedLine(short, secrets) : short));
    },
    get isWritable() {
      return !('isWritable' in destination) || destination.isWritable === true;
    },
  };
}

/** Texts in a line may come from outside: what a vendor answered, the name a client has sent. */
const longestLine = 32_768;
const longestText = 4_000;

function shortenedLine(line: string): string {
  const fields = parseJson(line);
  const cut = JSON.stringify(fields, (_name, value: unknown) =>
    typeof value === 'string' ? beginningOf(value, longestText) : value,
  );
  if (cut !== undefined && cut.length <= longestLine) return `${cut}\n`;
  const { level = 'info', time = null } = (fields ?? {}) as { level?: unknown; time?: unknown };
  const msg = `a line of ${line.length} characters was left out`;
  return `${JSON.stringify({ level, time, msg })}\n`;
}

/** Each text of the line is redacted alone: cutting through an escape would break the JSON. */
function redactedLine(line: string, secrets: KnownSecrets): string {
  const fields = parseJson(line);
  return fields === undefined ? secrets.redact(line) : `${JSON.stringify(secrets.redactAll(fields))}\n`;
}

/** Looks into plain objects only; errors have their own serializers. */
function withoutSecretFields(fields: object, depth: number): Record<string, unknown> {
  const kept: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(fields)) {
    if (secretFields.has(name)) kept[name] = '[secret]';
    else if (depth > 1 && isPlain(value)) kept[name] = withoutSecretFields(value, depth - 1);
    else kept[name] = value;
  }
  return kept;
}

function isPlain(value: unknown): value is object {
  return typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype;
}

/** The log at DEBUG, else undefined: of `debugLog(logger)?.debug({ … })` nothing is made at other levels. */
export function debugLog(logger: Logger): Logger | undefined {
  return logger.isLevelEnabled('debug') ? logger : undefined;
}

/** Whether the last line of the log could be written. */
export function isLogWritable(logger: Logger): boolean {
  const stream: unknown = Reflect.get(logger, pino.symbols.streamSym);
  return (
    !(typeof stream === 'object' && stream !== null && 'isWritable' in stream) || stream.isWritable === true
  );
}

function pinoLevel(level: string): string {
  const name = level.toLowerCase();
  if (name === 'warning') return 'warn';
  if (name === 'critical') return 'fatal';
  return name;
}
