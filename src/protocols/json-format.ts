import type { ResponseFormat } from '../core/turn.ts';
import { isJsonObject } from '../lib/parse-json.ts';
import { quoted, refused } from './refused.ts';

/**
 * What an answer has to look like, from the form all dialects share: a type, and a schema where the type wants one.
 * `param` is the path of the form in the request. Throws AppError `invalid_request`.
 */
export function jsonFormat(
  given: { readonly type: string; readonly schema?: unknown } | null | undefined,
  param: string,
): ResponseFormat {
  switch (given?.type ?? 'text') {
    case 'text':
      return { type: 'text' };
    case 'json_object':
      return { type: 'json' };
    case 'json_schema': {
      const schema = given?.schema;
      if (!isJsonObject(schema)) throw refused(`${param}.schema`, 'must be a JSON schema, as an object');
      return { type: 'json-schema', schema, param };
    }
    default:
      throw refused(
        param,
        `the format ${quoted(given?.type ?? '')} is not known: use text, json_object or json_schema`,
      );
  }
}
