import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { controls } from './controls.ts';
import { keyScenarios, ozScenarios, scenarios } from './index.ts';
import { keyCalls } from './key-management.ts';
import { ozCalls } from './oz.ts';
import { tokenPaths } from './token-endpoints.ts';
import { faultKinds } from './token-faults.ts';

test('the tables of the README are the lists of scenarios', () => {
  // The formatter pads the columns.
  const readme = readFileSync(new URL('README.md', import.meta.url), 'utf8').replaceAll(/ +/g, ' ');
  for (const { model, description, clientSees } of scenarios) {
    expect(readme).toContain(`| \`${model}\` | ${description} | ${clientSees} |\n`);
  }
  for (const { model, description, clientSees } of ozScenarios) {
    expect(readme).toContain(`| \`${model}\` | ${description} | ${clientSees} |\n`);
  }
  for (const { name, description, clientSees } of keyScenarios) {
    expect(readme).toContain(`| \`${name}\` | ${description} | ${clientSees} |\n`);
  }
});

test('the README names every token path, every call about keys, every failure that can be ordered, and every control', () => {
  const readme = readFileSync(new URL('README.md', import.meta.url), 'utf8');
  for (const path of tokenPaths) expect(readme).toContain(`POST ${path}`);
  for (const kind of faultKinds) expect(readme).toContain(`\`${kind}\``);
  for (const call of [...keyCalls, ...ozCalls]) expect(readme).toContain(`| \`${call}\` |`);
  for (const control of controls.keys()) expect(readme).toContain(`\`${control}\``);
});
