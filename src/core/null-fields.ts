import { z } from 'zod';

/**
 * The value without the fields that are null and that `schema` knows but does not take as null: clients in many languages write
 * null for what they do not set. What null means something for is kept, and so is what the schema does not know.
 */
export function withoutNulls(schema: z.core.$ZodType, value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  const { def } = schema._zod as z.core.$ZodTypes['_zod'];
  switch (def.type) {
    case 'optional':
    case 'nullable':
    case 'default':
    case 'readonly':
      return withoutNulls(def.innerType, value);
    case 'pipe':
      return withoutNulls(def.in, value);
    case 'array':
      return Array.isArray(value) ? value.map((item) => withoutNulls(def.element, item)) : value;
    case 'record':
      return withFields(value, (_name, field) => withoutNulls(def.valueType, field));
    case 'union': {
      const option = def.options.find((one) => isMeant(one, def, value));
      return option === undefined ? value : withoutNulls(option, value);
    }
    case 'object':
      return withFields(value, (name, field) => {
        const known = Object.hasOwn(def.shape, name) ? def.shape[name] : undefined;
        if (known === undefined) return field;
        if (field === null && !takesNull(known)) return undefined;
        return withoutNulls(known, field);
      });
    default:
      return value;
  }
}

/** The fields of a query that have a value: forms, and many clients, send what is not set as an empty one. */
export function givenFields(query: unknown): Record<string, unknown> {
  return Object.fromEntries(Object.entries(query ?? {}).filter(([, value]) => value !== ''));
}

function withFields(value: object, change: (name: string, field: unknown) => unknown): unknown {
  if (Array.isArray(value)) return value;
  const entries = Object.entries(value).map(([name, field]) => [name, change(name, field)] as const);
  return Object.fromEntries(entries.filter(([, field]) => field !== undefined));
}

function takesNull(schema: z.core.$ZodType): boolean {
  return z.core.safeParse(schema, null).success;
}

/** Of objects that differ in one field, such as `type`, the one whose field has the given value. */
function isMeant(option: z.core.$ZodType, union: z.core.$ZodUnionDef, value: object): boolean {
  const name = (union as z.core.$ZodDiscriminatedUnionDef).discriminator;
  const given = Object.entries(value).find(([field]) => field === name)?.[1];
  return option._zod.propValues?.[name]?.has(given as string) === true;
}
