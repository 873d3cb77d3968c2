import { z } from 'zod';
import { isJsonObject, type JsonObject } from '../lib/parse-json.ts';

/** A JSON object with every member it came with: zod's own objects and records leave out one called `__proto__`. */
export const jsonObject = z
  .custom<JsonObject>(isJsonObject, 'must be an object')
  .meta({ type: 'object', additionalProperties: true });
