import { settings } from '../../src/settings.ts';

/** Before the tests: settings and proxies of the person who runs them are no part of what is tested, and reach no process that a test starts. */
export default function setup(): void {
  for (const name of Object.keys(settings)) {
    delete process.env[name];
    delete process.env[name.toLowerCase()];
  }
}
