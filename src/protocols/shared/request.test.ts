import { expect, it } from 'vitest';
import { z } from 'zod';
import { AppError } from '../../core/errors.ts';
import { parseBody } from './request.ts';

const schema = z.looseObject({
  items: z.array(z.union([z.looseObject({ type: z.literal('a') }), z.looseObject({ type: z.literal('b') })])),
});

it('names what to mend first', () => {
  const refused = () => parseBody(schema, { items: [{ type: 'a' }, { type: 'c' }] }, '"items"');
  expect(refused).toThrow(AppError);
  expect(refused).toThrow(expect.objectContaining({ param: 'items.1.type' }));
});

it('looks at nothing beyond the first problem', () => {
  let looks = 0;
  const item = {
    get type() {
      looks += 1;
      return 'c';
    },
  };
  expect(() => parseBody(schema, { items: Array.from({ length: 100 }, () => item) }, '"items"')).toThrow(
    AppError,
  );
  expect(looks).toBeLessThan(10);
});
