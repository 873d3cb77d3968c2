/**
 * Runs the public conformance suite llmprobe against the gateway: as `npm start` would run it, with an empty pool that
 * the sandbox answers, and over a simulated vendor of each protocol. Exit code 1 when a MUST of a specification is
 * broken. `--upstream gemini` (sandbox, chat, responses, anthropic) examines one of them. Other words are handed on to
 * the suite, for example `npm run conformance -- --full`.
 */
import { spawn } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import type { VendorSandbox } from '../sandbox/vendor/server.ts';
import { startServices } from '../src/compose.ts';
import { loadConfig } from '../src/config.ts';
import { createLogger } from '../src/lib/log/logger.ts';
import { runClosed, wordsGiven } from './closed-run.ts';
import { modelOf, startVendors, type VendorName, type Vendors, vendorNames } from './vendors.ts';

const suite = 'llmprobe';
/** Its models do what they are asked, so that forced tool calls and demanded JSON find something to look at. */
const scenario = 'obedient';
const limitMs = 10 * 60_000;
const upstreams = ['sandbox', ...vendorNames] as const;
type Upstream = (typeof upstreams)[number];

const finding = z.object({ id: z.string(), label: z.string(), message: z.string() });
const report = z.object({
  conformance: z.object({
    bySurface: z.array(z.object({ surface: z.string(), passed: z.number(), total: z.number() })).min(1),
    inconclusive: z.array(z.object({ id: z.string(), reason: z.string() })),
    warnings: z.array(finding),
    results: z.array(
      z.object({
        id: z.string(),
        outcome: z.string(),
        reason: z.string().optional(),
        failures: z.array(finding.extend({ severity: z.string() })),
      }),
    ),
  }),
});

const words = wordsGiven();
const at = words.indexOf('--upstream');
const wanted = at === -1 ? upstreams : upstreams.filter((name) => name === words[at + 1]);
const handedOn = words.filter((_word, index) => at === -1 || (index !== at && index !== at + 1));

if (wanted.length === 0) {
  console.log(`There is no such upstream. There are ${upstreams.join(', ')}.`);
  process.exitCode = 1;
} else process.exitCode = await runClosed({ script: import.meta.filename, packages: [suite], drive });

async function drive(folder: string, missing: readonly string[]): Promise<number> {
  if (missing.includes(suite)) {
    console.log(`${suite} could not be installed, so nothing was examined.`);
    return 1;
  }
  mkdirSync(join(folder, 'home'), { recursive: true });
  let code = 0;
  for (const upstream of wanted) code = Math.max(code, await examine(folder, upstream));
  return code;
}

async function examine(folder: string, upstream: Upstream): Promise<number> {
  const vendors = upstream === 'sandbox' ? undefined : await startVendors(folder, [upstream]);
  const environment = {
    PORT: '0',
    POOL_SERVICE_PORT: '0',
    DATA_DIR: join(folder, `data-${upstream}`),
    SHUTDOWN_SECONDS: '0',
    ...vendors?.environment,
  };
  const config = loadConfig(environment, folder);
  const services = await startServices(config, 'both', createLogger('FATAL'), (error) => {
    throw error;
  });
  const file = join(folder, `report-${upstream}.json`);
  const model = upstream === 'sandbox' ? `sandbox-${scenario}` : modelOf(upstream, scenario);
  const startedAt = Date.now();
  try {
    const options = ['--no-bench', '--no-save', '--json', '--save', file, '--model', model, ...handedOn];
    const said = await run(folder, [services.gatewayUrl ?? '', ...options]);
    const read = report.safeParse(jsonOf(file));
    console.log(`${upstream} (${model}), ${((Date.now() - startedAt) / 1_000).toFixed(1)} s`);
    for (const refused of refusedBy(vendors)) console.log(`REFUSED       ${refused}`);
    if (read.success) return tell(read.data);
    console.log(`FAILED  ${suite} left no report that can be read:\n${said.slice(-2_000)}`);
    return 1;
  } finally {
    await services.close();
    await vendors?.close();
  }
}

/** What the vendors would not take: the suite may well have asked for it. */
function refusedBy(vendors: Vendors<VendorName> | undefined): string[] {
  const sandboxes: VendorSandbox[] = Object.values(vendors?.sandboxes ?? {});
  const turns = sandboxes.flatMap((sandbox) => sandbox.turns);
  return turns.flatMap(({ refusal }) => (refusal === undefined ? [] : [JSON.stringify(refusal)]));
}

function tell({ conformance }: z.infer<typeof report>): number {
  const { bySurface, inconclusive, warnings, results } = conformance;
  const broken = results.flatMap((result) =>
    result.failures.filter(({ severity }) => severity === 'MUST').map((one) => ({ ...one, in: result.id })),
  );
  for (const { surface, passed, total } of bySurface) {
    console.log(`${passed === total ? 'ok    ' : 'FAILED'}  ${surface}: ${passed} of ${total}`);
  }
  for (const one of broken) console.log(`MUST          ${one.in}: ${one.label}: ${one.message}`);
  for (const one of warnings) console.log(`should        ${one.id}: ${one.message}`);
  for (const one of inconclusive) console.log(`inconclusive  ${one.id}: ${one.reason}`);
  for (const { id, outcome, reason } of results) {
    if (outcome === 'unsupported' || outcome === 'skipped')
      console.log(`${outcome.padEnd(12)}  ${id}: ${reason ?? ''}`);
  }
  return broken.length === 0 && bySurface.every(({ passed, total }) => passed === total) ? 0 : 1;
}

function run(folder: string, words: readonly string[]): Promise<string> {
  return new Promise((done, reject) => {
    const child = spawn(join(folder, 'node_modules', '.bin', suite), words, {
      cwd: folder,
      env: { PATH: process.env['PATH'], HOME: join(folder, 'home') },
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: limitMs,
    });
    let said = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk: Buffer) => {
        said = (said + chunk).slice(-100_000);
      });
    }
    child.once('error', reject);
    child.once('close', () => done(said));
  });
}

function jsonOf(file: string): unknown {
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch {
    return undefined;
  }
}
