import { isDeepStrictEqual } from 'node:util';
import type { Ability } from '../../core/capabilities.ts';
import { refused as refusedField } from '../../core/errors.ts';
import type { Wish } from '../../core/turn.ts';

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
  /** An upstream with this ability takes the field; the handling is what becomes of it elsewhere. */
  readonly wish?: Ability;
  /** Shown in docs/fields.md; of a refused field also in the error, behind its name. */
  readonly says: string;
  /** Values that ask for nothing, so that they are simply accepted. Null always is one. */
  readonly neutral?: readonly unknown[];
}

/** By path: `field`, `object.field`, `list[].field`. */
export type FieldTable = Readonly<Record<string, FieldRow>>;

const row =
  (handling: Handling) =>
  (says: string, more: Pick<FieldRow, 'neutral' | 'wish'> = {}): FieldRow => ({ handling, says, ...more });

export const honoured = row('honoured');
export const translated = row('translated');
export const passedOn = row('passed on');
export const ignored = row('ignored');
export const silent = row('silent');
export const refused = row('refused');

/** What is asked for in vain: of more names than this, the first ones are reported. */
const maxNames = 50;

interface Place {
  row?: FieldRow;
  readonly fields: Map<string, Place>;
}

export interface CheckedFields {
  /** What the body asks for in vain, unknown fields too, unless the upstream takes it. */
  readonly ignored: readonly string[];
  /** What the upstream decides about. */
  readonly wishes: readonly Wish[];
}

interface Found {
  names?: Set<string>;
  /** By name: in a list the first one. */
  wishes?: Map<string, Wish>;
}

/**
 * Reads a table once. The function it returns throws AppError `invalid_request` for what the table refuses, whatever the upstream.
 * Within lists only fields of the table are looked at.
 */
export function createFieldCheck(table: FieldTable): (body: object) => CheckedFields {
  const root = placesOf(table);
  return (body) => {
    const found: Found = {};
    lookInto(root, body, [], found);
    const { names, wishes } = found;
    return { ignored: names ? [...names] : [], wishes: wishes ? [...wishes.values()] : [] };
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

/** `path` is that of the value; it grows and shrinks on the way through. */
function lookInto(place: Place, value: unknown, path: (string | number)[], found: Found): void {
  if (value === null || value === undefined || isSettled(place, value, path, found)) return;
  if (place.fields.size === 0 || typeof value !== 'object') return;
  const items = place.fields.get('[]');
  if (Array.isArray(value)) {
    if (items) for (const [index, item] of value.entries()) lookBelow(items, index, item, path, found);
    return;
  }
  const isInList = path.some((step) => typeof step === 'number');
  for (const name of Object.keys(value)) {
    const inner: unknown = value[name as keyof typeof value];
    const known = place.fields.get(name);
    if (known) lookBelow(known, name, inner, path, found);
    else if (!isInList && inner !== null) addName(found, [...path, name]);
  }
}

function lookBelow(
  place: Place,
  step: string | number,
  value: unknown,
  path: (string | number)[],
  found: Found,
): void {
  path.push(step);
  lookInto(place, value, path, found);
  path.pop();
}

function isSettled(
  { row }: Place,
  value: unknown,
  path: readonly (string | number)[],
  found: Found,
): boolean {
  if (!row) return false;
  const { handling, wish, neutral, says } = row;
  const isHonoured = handling !== 'ignored' && handling !== 'refused';
  if (isHonoured && !wish) return false;
  if (neutral?.some((one) => isDeepStrictEqual(one, value))) return true;
  const name = nameOf(path);
  if (wish) {
    const param = handling === 'refused' ? path.join('.') : name;
    const otherwise = isHonoured ? 'silent' : handling;
    found.wishes ??= new Map();
    if (!found.wishes.has(name)) found.wishes.set(name, { ability: wish, param, value, otherwise, says });
  }
  if (handling === 'ignored') addName(found, path);
  else if (!wish) throw refusedField(path.join('.'), says);
  return true;
}

function addName(found: Found, path: readonly (string | number)[]): void {
  found.names ??= new Set();
  if (found.names.size < maxNames) found.names.add(nameOf(path));
}

function nameOf(path: readonly (string | number)[]): string {
  return path.filter((step) => typeof step === 'string').join('.');
}
