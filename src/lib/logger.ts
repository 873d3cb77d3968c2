import { type DestinationStream, type LogFn, type Logger, pino } from 'pino';

export type { Logger } from 'pino';

/** Field names whose values never reach a log, wherever they stand. */
const secretFields = [
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
];

const redactedPaths = secretFields.flatMap((field) => {
  const key = field.includes('-') ? `["${field}"]` : field;
  const nested = field.includes('-') ? key : `.${key}`;
  return [key, `*${nested}`, `*.*${nested}`];
});

/** Structured lines on stdout. `level` is DEBUG, INFO, WARNING, ERROR or CRITICAL in any case, or pino's own names. */
export function createLogger(level: string, destination?: DestinationStream): Logger {
  const options = {
    level: pinoLevel(level),
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
    hooks: {
      // Fastify logs a line when it listens, which we do in our own words; it can only be made empty.
      logMethod(values: Parameters<LogFn>, method: LogFn) {
        if (values.length !== 1 || (values[0] as unknown) !== '') method.apply(this, values);
      },
    },
    redact: { paths: redactedPaths, censor: '[secret]' },
  };
  return destination === undefined ? pino(options) : pino(options, destination);
}

function pinoLevel(level: string): string {
  const name = level.toLowerCase();
  if (name === 'warning') return 'warn';
  if (name === 'critical') return 'fatal';
  return name;
}
