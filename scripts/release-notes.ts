import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

/** Prints what CHANGELOG.md says of a version. A release has a section of its own there, and the version of package.json. */

const [, , version = ''] = process.argv;
const root = resolve(import.meta.dirname, '..');
const read = (name: string) => readFileSync(join(root, name), 'utf8');

const manifest = JSON.parse(read('package.json')) as { version: string };
const section = read('CHANGELOG.md')
  .split(/^## /m)
  .find((part) => part.split(/\s/, 1)[0] === version);
const text = section?.slice(section.indexOf('\n')).trim() ?? '';

const problem =
  manifest.version !== version
    ? `package.json has version ${manifest.version}, and ${version || 'no version'} is to be released.`
    : text === ''
      ? `CHANGELOG.md has no section "## ${version}": rename "Unreleased", and put an empty one above it.`
      : undefined;
if (problem === undefined) {
  process.stdout.write(`${text}\n`);
} else {
  process.stderr.write(`${problem}\n`);
  process.exitCode = 1;
}
