import { isJsonObject, type JsonObject } from '../../lib/parse-json.ts';

/** What an upstream sent is read leniently: a value of another kind than expected counts as absent. */
export function textIn(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

export function objectsIn(value: unknown): JsonObject[] {
  return Array.isArray(value) ? value.filter(isJsonObject) : [];
}

/** A whole number that is not negative, of an object's member. */
export function countIn(value: unknown, name: string): number | undefined {
  const count = isJsonObject(value) ? value[name] : undefined;
  return typeof count === 'number' && Number.isSafeInteger(count) && count >= 0 ? count : undefined;
}
