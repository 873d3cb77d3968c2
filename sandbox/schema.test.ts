import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { expect, it } from 'vitest';

it('has generated code that is up to date with wire.proto', () => {
  const here = import.meta.dirname;
  const bin = join(here, '../node_modules/.bin');
  const out = mkdtempSync(join(tmpdir(), 'wire-proto-'));
  try {
    execFileSync(join(bin, 'buf'), ['generate', here, '--template', join(here, 'buf.gen.yaml'), '-o', out], {
      env: { ...process.env, PATH: `${bin}${delimiter}${process.env['PATH']}` },
    });
    for (const name of ['wire_pb.js', 'wire_pb.d.ts']) {
      const fresh = readFileSync(join(out, 'gen', name), 'utf8');
      expect(fresh === readFileSync(join(here, 'gen', name), 'utf8'), `${name}: run npm run generate`).toBe(
        true,
      );
    }
  } finally {
    rmSync(out, { recursive: true });
  }
});
