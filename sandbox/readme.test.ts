import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { keyScenarios, scenarios } from './index.ts';

test('the tables of the README are the lists of scenarios', () => {
  // The formatter pads the columns.
  const readme = readFileSync(new URL('README.md', import.meta.url), 'utf8').replaceAll(/ +/g, ' ');
  for (const { model, description, clientSees } of scenarios) {
    expect(readme).toContain(`| \`${model}\` | ${description} | ${clientSees} |\n`);
  }
  for (const { name, description, clientSees } of keyScenarios) {
    expect(readme).toContain(`| \`${name}\` | ${description} | ${clientSees} |\n`);
  }
});
