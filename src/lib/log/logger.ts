import { type DestinationStream, type LogFn, type Logger, pino } from 'pino';
import type { Clock } from '../clock.ts';
import { parseJson } from '../parse-json.ts';
import type { KnownSecrets } from '../secrets/known-secrets.ts';
import { beginningOf, plainJson } from '../shown-text.ts';
import { createLineWriter, type LineWriter } from './log-file.ts';

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
      err: (error: unknown) => (error instanceof Error ? shownError(error) : error),
    },
    hooks: {
      logMethod(this: Logger, values: Parameters<LogFn>, method: LogFn, level: number) {
        if (level < errorLevel && !this.isLevelEnabled('debug')) withoutStack(values);
        method.apply(this, values);
      },
    },
  };
  return pino(options, new CleanedLines(destination, secrets));
}

/** With what its causes say beyond what it says itself: an error that was made of another one often quotes it. */
function shownError(error: Error) {
  const said = [error.message];
  const seen = new Set<unknown>([error]);
  for (let { cause } = error; cause instanceof Error && !seen.has(cause); { cause } = cause) {
    seen.add(cause);
    if (!said.some((text) => text.includes(cause.message))) said.push(cause.message);
  }
  return { ...pino.stdSerializers.err(error), message: said.join(': ') };
}

/** Below an error the program went on as it should: what happened says enough, and where in the code is for developers. */
function withoutStack(values: unknown[]): void {
  const [fields] = values;
  if (typeof fields !== 'object' || fields === null || !('err' in fields) || !(fields.err instanceof Error))
    return;
  const { stack: _stack, ...err } = shownError(fields.err);
  values[0] = { ...fields, err };
}

/** Cleans every line, so that the code that logs need not know what is secret or where a text came from. */
class CleanedLines implements DestinationStream {
  readonly #destination: DestinationStream;
  readonly #secrets: KnownSecrets | undefined;

  constructor(destination: DestinationStream, secrets: KnownSecrets | undefined) {
    this.#destination = destination;
    this.#secrets = secrets;
  }

  write(line: string): void {
    this.#destination.write(this.#cleaned(line));
  }

  #cleaned(line: string): string {
    const secrets = this.#secrets;
    // A cut between words leaves secrets whole or removes them, and no line of megabytes is searched.
    const short = line.length > longestLine ? shortenedLine(line) : line;
    return plainJson(secrets?.isIn(short) ? redactedLine(short, secrets) : short);
  }

  /** `texts` are all that came from outside: the rest of the line is not searched. */
  writeOwn(make: () => string, texts: readonly string[]): void {
    const cleaned = (): string => {
      const line = make();
      const isClean = line.length <= longestLine && !texts.some((text) => this.#secrets?.isIn(text));
      return isClean ? plainJson(line) : this.#cleaned(line);
    };
    const destination: DestinationStream & Pick<LineWriter, 'writeLater'> = this.#destination;
    if (destination.writeLater) destination.writeLater(cleaned);
    else destination.write(cleaned());
  }

  get isWritable(): boolean {
    return !('isWritable' in this.#destination) || this.#destination.isWritable === true;
  }
}

/**
 * The line that every turn ends with, as `logger.info(fields, msg)` writes it at a fraction of the cost: searching the line for
 * secrets is most of that, and `texts` are the only ones in it that came from outside.
 */
export function logOwn(
  logger: Logger,
  fields: Readonly<Record<string, unknown>>,
  msg: string,
  texts: readonly string[],
): void {
  const lines: unknown = Reflect.get(logger, pino.symbols.streamSym);
  if (!(lines instanceof CleanedLines)) logger.info(fields, msg);
  else if (logger.isLevelEnabled('info')) {
    const at = Date.now();
    const bound = String(Reflect.get(logger, pino.symbols.chindingsSym));
    lines.writeOwn(() => {
      const own = JSON.stringify(fields).slice(1, -1);
      return `{"level":"info","time":"${new Date(at).toISOString()}"${bound},${own},"msg":"${msg}"}\n`;
    }, texts);
  }
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

/**
 * Limits lines of a log: the first occurrence is reported immediately, then at most one a minute. `count` is how many there
 * were since the last report.
 */
export function onceAMinute<Facts extends readonly unknown[]>(
  clock: Pick<Clock, 'monotonic'>,
  report: (count: number, ...facts: Facts) => void,
): (...facts: Facts) => void {
  let count = 0;
  let quietUntil = Number.NEGATIVE_INFINITY;
  return (...facts) => {
    count += 1;
    if (clock.monotonic() < quietUntil) return;
    report(count, ...facts);
    count = 0;
    quietUntil = clock.monotonic() + 60_000;
  };
}
