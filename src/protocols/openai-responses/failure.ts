import type { AppError } from '../../core/errors.ts';
import { isJsonObject, type JsonObject } from '../../lib/parse-json.ts';
import { errorIn } from '../shared/failed-answer.ts';
import { classifyNamed } from '../shared/openai-failure.ts';

/** Why an answer ended in failure; undefined for an event that says no such thing. */
export function failureIn(event: JsonObject): AppError | undefined {
  const { type, response } = event;
  if (type === 'response.failed') {
    const error = isJsonObject(response) ? errorIn(response) : undefined;
    return classifyNamed(error ?? {});
  }
  // Its fields are its own, or, as for errors before a stream, those of an object within.
  if (type === 'error') return classifyNamed(errorIn(event) ?? errorIn({ error: event }) ?? {});
  const error = type === undefined ? errorIn(event) : undefined;
  return error && classifyNamed(error);
}
