/** The target of the first alias that fits: an exact name before patterns, patterns in the order they were written. */
export function findAlias(aliases: Readonly<Record<string, string>>, model: string): string | undefined {
  if (Object.hasOwn(aliases, model)) return aliases[model];
  for (const [pattern, target] of Object.entries(aliases)) {
    if (pattern.endsWith('*') && model.startsWith(pattern.slice(0, -1))) return target;
  }
  return undefined;
}
