import { readFileSync } from 'node:fs';

/** The package's version, read from the nearest package.json: sources and the built package lie at different depths. */
export const version = readVersion();

/** How we name ourselves to providers: our own name, not another client's. */
export const userAgent = `warp2api/${version}`;

function readVersion(): string {
  for (const depth of ['../../package.json', '../../../package.json']) {
    try {
      const found: unknown = JSON.parse(readFileSync(new URL(depth, import.meta.url), 'utf8'));
      if (typeof found === 'object' && found !== null && 'name' in found && 'version' in found) {
        if (found.name === 'warp2api') return String(found.version);
      }
    } catch {
      // Not at this depth.
    }
  }
  return '0.0.0';
}
