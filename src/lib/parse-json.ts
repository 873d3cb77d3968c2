import { checkJsonLimits } from './json-limits.ts';

export type JsonObject = Readonly<Record<string, unknown>>;

/** The value of a JSON text; undefined where it is not valid, or breaks `jsonLimits`. */
export function parseJson(text: string | Uint8Array): unknown {
  try {
    const json = typeof text === 'string' ? text : Buffer.from(text).toString('utf8');
    checkJsonLimits(json);
    return JSON.parse(json);
  } catch {
    return undefined;
  }
}

/** The object of a JSON text; undefined where it holds another value, or is not valid. */
export function parseJsonObject(text: string | Uint8Array): JsonObject | undefined {
  const value = parseJson(text);
  return isJsonObject(value) ? value : undefined;
}

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
