import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { generatedDocs } from '../scripts/generated-docs.ts';

test.each(generatedDocs())(
  '$path says what the sources say (npm run generate mends it)',
  ({ path, text }) => {
    expect(readFileSync(path, 'utf8')).toBe(text);
  },
);
