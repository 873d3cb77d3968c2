import { parseJsonObject } from '../lib/parse-json.ts';

/**
 * A custom tool takes plain text instead of arguments. Upstreams know functions only, so to them it is a function with
 * this one parameter.
 */
export const customParameters = {
  type: 'object',
  properties: { input: { type: 'string', description: 'The whole input of the tool, as plain text.' } },
  required: ['input'],
} as const;

/** The description of the function, with the grammar its input has to follow. */
export function customDescription(
  description: string | null | undefined,
  grammar: string | null | undefined,
): string {
  const rule = grammar ? `The input must follow this grammar:\n${grammar}` : '';
  return [description ?? '', rule].filter((text) => text !== '').join('\n\n');
}

/** The arguments of the function that stand for an input. */
export function customArguments(input: string): string {
  return JSON.stringify({ input });
}

/** The input of a call, as the client wants it. */
export function customInput(argumentsText: string): string {
  const input = parseJsonObject(argumentsText)?.['input'];
  // Without it the model wrote the input itself.
  return typeof input === 'string' ? input : argumentsText;
}
