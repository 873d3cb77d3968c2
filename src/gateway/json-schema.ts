import { dereference, type Schema } from '@cfworker/json-schema';
import { AppError } from '../core/errors.ts';
import { formFaultOf } from './schema-form.ts';

/** Characters of a schema as JSON; the whole of it is told to the model. */
const longestSchema = 256 * 1024;
const deepest = 256;
/** Characters of the paths to all its parts, of which a checker makes a list. */
const longestPaths = 4 * 1024 * 1024;

/**
 * Throws AppError `invalid_request` naming `param` when a schema is none that answers could be checked against. Looks at its form
 * alone: trying it out could take for ever.
 */
export function checkSchema(schema: Readonly<Record<string, unknown>>, param: string): void {
  const fault = faultOf(schema);
  if (fault === undefined) return;
  throw new AppError('invalid_request', `${param}: is no JSON schema that can be checked: ${fault}.`, {
    param,
  });
}

function faultOf(schema: Readonly<Record<string, unknown>>): string | undefined {
  try {
    const size = sizeFaultOf(schema);
    if (size !== undefined) return size;
    if (JSON.stringify(schema).length > longestSchema) return 'it is longer than 256 KB';
    const form = formFaultOf(schema);
    if (form !== undefined) return form;
    const known = dereference(schema as Schema);
    for (const part of Object.values(known)) {
      if (typeof part !== 'object') continue;
      const { $ref, __absolute_ref__: ref } = part;
      // What lies in another document is left unchecked.
      if ($ref?.startsWith('#') && (ref === undefined || known[ref] === undefined)) {
        return `its reference ${JSON.stringify($ref).slice(0, 200)} leads nowhere`;
      }
    }
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message.slice(0, 200) : 'it cannot be read';
  }
}

/** Before anything walks over it that calls itself or copies paths. */
function sizeFaultOf(schema: unknown): string | undefined {
  const waiting = [{ part: schema, depth: 0, path: 0 }];
  let paths = 0;
  for (let next = waiting.pop(); next; next = waiting.pop()) {
    const { part, depth, path } = next;
    paths += path;
    if (depth > deepest) return 'it is nested too deeply';
    if (paths > longestPaths) return 'it has too many parts';
    if (typeof part !== 'object' || part === null) continue;
    for (const [name, inner] of Object.entries(part)) {
      waiting.push({ part: inner, depth: depth + 1, path: path + name.length + 1 });
    }
  }
  return undefined;
}
