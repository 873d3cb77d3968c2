import { expect, test } from 'vitest';
import type { z } from 'zod';
import { countRequest, messagesRequest } from './anthropic-messages/schema.ts';
import { countTokensRequest, generateRequest } from './gemini/schema.ts';
import { chatRequest } from './openai-chat/schema.ts';
import { responsesRequest } from './openai-responses/schema.ts';

/** The fields, also of inner objects, that may be left out but not be null. */
function fieldsWithoutNull(schema: z.core.$ZodType, path: string, seen = new Set<unknown>()): string[] {
  if (seen.has(schema)) return [];
  seen.add(schema);
  const { def } = (schema as z.core.$ZodTypes)._zod;
  const inner = (one: z.core.$ZodType, name = '') => fieldsWithoutNull(one, path + name, seen);
  if (def.type === 'object') {
    return Object.entries(def.shape).flatMap(([name, field]) => {
      const takes = (value: unknown) => (field as z.ZodType).safeParse(value).success;
      const found = takes(undefined) && !takes(null) ? [`${path}.${name}`] : [];
      return [...found, ...inner(field, `.${name}`)];
    });
  }
  if (def.type === 'array') return inner(def.element, '[]');
  if (def.type === 'union') return def.options.flatMap((option) => inner(option));
  if (def.type === 'pipe') return [...inner(def.in), ...inner(def.out)];
  return 'innerType' in def ? inner(def.innerType) : [];
}

test.each(
  Object.entries({
    chatRequest,
    messagesRequest,
    countRequest,
    responsesRequest,
    generateRequest,
    countTokensRequest,
  }),
)('%s takes null wherever a field may be left out', (name, schema) => {
  expect(fieldsWithoutNull(schema, name)).toEqual([]);
});
