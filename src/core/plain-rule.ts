const kindNames: Readonly<Record<string, string>> = {
  string: 'a string',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  object: 'an object',
  record: 'an object',
  array: 'a list',
};

/** What zod says in the words of our own messages. */
export function plainRule(message: string): string {
  const [, options] =
    /^Invalid (?:option: expected one of|discriminator value\. Expected) (.+)$/.exec(message) ?? [];
  if (options !== undefined) {
    const names = options.replaceAll("'", '"').split(/ ?\| ?/);
    return `must be ${names.join(', ').replace(/, (?=[^,]*$)/, ' or ')}`;
  }
  const [, size, kind, isIncluded, number, unit] =
    /^Too (small|big): expected (\w+) to (?:have|be) [<>](=?)([\d.]+)(?: (\w+))?$/.exec(message) ?? [];
  if (kind !== undefined) {
    const words = isIncluded ? ['at least', 'at most'] : ['more than', 'less than'];
    const bound = `${words[size === 'small' ? 0 : 1]} ${number}`;
    return unit === undefined ? `must be ${bound}` : `must have ${bound} ${unit}`;
  }
  const [, expected = '', received] = /^Invalid input: expected (\w+), received (\w+)$/.exec(message) ?? [];
  const name = kindNames[expected];
  if (name === undefined) return message;
  return received === undefined || received === 'undefined'
    ? `must be ${name}`
    : `must be ${name}, not ${kindNames[received] ?? received}`;
}
