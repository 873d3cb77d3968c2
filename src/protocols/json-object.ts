import { z } from 'zod';

/** A JSON object with every member it came with: zod's own objects and records leave out one called `__proto__`. */
export const jsonObject = z
  .custom<Readonly<Record<string, unknown>>>(
    (value) => typeof value === 'object' && value !== null && !Array.isArray(value),
    'must be an object',
  )
  .meta({ type: 'object', additionalProperties: true });
