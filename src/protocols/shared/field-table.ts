import { isDeepStrictEqual } from 'node:util';
import { refused } from './request.ts';

/**
 * What becomes of a field of a request:
 * - `honoured`, `translated`: it has its effect, in the second case in other words than the client's;
 * - `passed on`: to an upstream that has such a setting; named in `x-warp2api-ignored` where it has none;
 * - `ignored`: no effect, harmless, named in `x-warp2api-ignored`;
 * - `silent`: the vendor's own bookkeeping, no answer depends on it;
 * - `refused`: a 400 that names it, because leaving it out would change what was asked for.
 */
export type Handling = 'honoured' | 'translated' | 'passed on' | 'ignored' | 'silent' | 'refused';

export interface FieldRow {
  readonly handling: Handling;
  /** Shown in docs/fields.md; of a refused field also in the error, behind its name. */
  readonly says: string;
  /** Values that ask for nothing, so that they are simply accepted. Null always is one. */
  readonly neutral?: readonly unknown[];
}

/** By path: `field`, `object.field`, `list[].field`. */
export type FieldTable = Readonly<Record<string, FieldRow>>;

/** What is asked for in vain: a client that sends more names than this is told of the first ones. */
const maxNames = 50;

interface Place {
  row?: FieldRow;
  readonly fields: Map<string, Place>;
}

/**
 * Reads a table once. The function it returns names what a body asks for in vain, unknown fields too, and throws
 * AppError `invalid_request` for what the table refuses. Within lists only fields of the table are looked at.
 */
export function createFieldCheck(table: FieldTable): (body: object) => string[] {
  const root = placesOf(table);
  return (body) => {
    const names = new Set<string>();
    lookInto(root, body, [], names);
    return [...names];
  };
}

function placesOf(table: FieldTable): Place {
  const root: Place = { fields: new Map() };
  for (const [path, row] of Object.entries(table)) {
    let place = root;
    for (const step of path.replaceAll('[]', '.[]').split('.')) {
      let next = place.fields.get(step);
      if (next === undefined) {
        next = { fields: new Map() };
        place.fields.set(step, next);
      }
      place = next;
    }
    place.row = row;
  }
  return root;
}

function lookInto(
  place: Place,
  value: unknown,
  path: readonly (string | number)[],
  names: Set<string>,
): void {
  if (value === null || value === undefined || isSettled(place, value, path, names)) return;
  if (place.fields.size === 0 || typeof value !== 'object') return;
  const items = place.fields.get('[]');
  if (Array.isArray(value)) {
    if (items) for (const [index, item] of value.entries()) lookInto(items, item, [...path, index], names);
    return;
  }
  const isInList = path.some((step) => typeof step === 'number');
  for (const [name, inner] of Object.entries(value)) {
    const known = place.fields.get(name);
    if (known) lookInto(known, inner, [...path, name], names);
    else if (!isInList && inner !== null) addName(names, [...path, name]);
  }
}

function isSettled(
  { row }: Place,
  value: unknown,
  path: readonly (string | number)[],
  names: Set<string>,
): boolean {
  if (row?.handling !== 'ignored' && row?.handling !== 'refused') return false;
  if (row.neutral?.some((neutral) => isDeepStrictEqual(neutral, value))) return true;
  if (row.handling === 'ignored') addName(names, path);
  else throw refused(path.join('.'), row.says);
  return true;
}

function addName(names: Set<string>, path: readonly (string | number)[]): void {
  if (names.size < maxNames) names.add(path.filter((step) => typeof step === 'string').join('.'));
}
