type Optional<T> = { readonly [Name in keyof T]?: T[Name] | undefined };

/** Fields left out are not the same as fields set to nothing. */
export function definedOnly<T extends object>(fields: Optional<T>): Partial<T> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Partial<T>;
}
