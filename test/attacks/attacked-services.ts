import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect } from 'vitest';
import { spawnService } from '../support/process.ts';

/**
 * Both services in a process of their own, as `serve` runs them, on free ports and with one account of Warp, which a
 * sandbox plays in another process.
 */
export interface AttackedServices {
  readonly gatewayUrl: string;
  readonly poolUrl: string;
  readonly upstreamUrl: string;
  output(): string;
  pid(): number;
  /** What it has cost its machine; nothing where no /proc tells, so that only Linux judges by it. */
  cost(): Cost;
}

interface Cost {
  readonly cpuMs: number;
  readonly residentMb: number;
  /** The most it ever had. */
  readonly peakMb: number;
}

export const keys = {
  admin: 'the-key-of-the-owner-0123',
  pool: 'the-key-of-a-borrower',
  gateway: 'the-key-of-a-gateway-0123',
  client: 'the-key-of-a-client',
  neighbour: 'the-key-of-another-client',
} as const;

export const withKeys = {
  ADMIN_KEY: keys.admin,
  POOL_API_KEY: keys.pool,
  GATEWAY_KEY: keys.gateway,
  API_KEYS: `${keys.client},${keys.neighbour}`,
};

/** What no line of a log and no answer may hold: what a terminal obeys, what turns the order of text, what ends a line. */
export const unseen = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u;
const accountKey = 'wk-attacked.plain';

/**
 * Runs them for the tests of a file. Whatever was done to them, in the end they are alive, have logged no fault of their
 * own, nothing secret and no character that is none to be read, and what they wrote is their owner's alone.
 */
export function useAttackedServices(environment: Record<string, string>): AttackedServices {
  const folder = mkdtempSync(join(tmpdir(), 'warp2api-attacked-'));
  let service: ReturnType<typeof spawnService>;
  let upstream: ReturnType<typeof spawnService>;
  const running = { gatewayUrl: '', poolUrl: '', upstreamUrl: '' };
  beforeAll(async () => {
    upstream = spawnService(['sandbox', '--port', '0'], {}, folder);
    running.upstreamUrl = await upstream.urlOf('sandbox');
    service = spawnService(
      ['serve'],
      {
        PORT: '0',
        POOL_SERVICE_PORT: '0',
        DATA_DIR: join(folder, 'data'),
        WARP_SERVER_URL: running.upstreamUrl,
        WARP_API_KEY: accountKey,
        SHUTDOWN_SECONDS: '0',
        ...environment,
      },
      folder,
    );
    running.poolUrl = await service.urlOf('account pool');
    running.gatewayUrl = await service.urlOf('gateway');
  });
  afterAll(async () => {
    const lines = service.output().split('\n');
    const secrets = [...Object.values(keys), accountKey, environment['WARP_API_KEY'] ?? accountKey];
    const bad = {
      faults: lines.filter((line) => /"level":"(error|fatal)"/.test(line)),
      leaks: lines.filter((line) => secrets.some((secret) => line.includes(secret))),
      unseen: lines.filter((line) => unseen.test(line)),
      readable: openToOthers(join(folder, 'data')),
    };
    const code = await service.kill('SIGTERM');
    await upstream.kill('SIGTERM');
    rmSync(folder, { recursive: true, force: true });
    expect({ ...bad, code }).toEqual({ faults: [], leaks: [], unseen: [], readable: [], code: 0 });
  });
  return Object.assign(running, {
    output: () => service.output(),
    pid: () => service.child.pid ?? 0,
    cost: () => costOf(service.child.pid ?? 0),
  });
}

/** The folder and what lies in it, as far as others than the owner may look at it. */
function openToOthers(folder: string): string[] {
  const inside = readdirSync(folder, { recursive: true, encoding: 'utf8' }).map((name) => join(folder, name));
  // One of them may have been removed meanwhile.
  const modeOf = (file: string) => statSync(file, { throwIfNoEntry: false })?.mode ?? 0;
  return [folder, ...inside].filter((file) => (modeOf(file) & 0o077) !== 0);
}

/** Ticks of the clock that /proc counts in. */
const tickMs = 10;

function costOf(pid: number): Cost {
  if (process.platform !== 'linux') return { cpuMs: 0, residentMb: 0, peakMb: 0 };
  // After the name, which may hold anything.
  const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1]?.split(' ') ?? [];
  const status = readFileSync(`/proc/${pid}/status`, 'latin1');
  const megabytes = (name: string): number =>
    Number(new RegExp(`${name}:\\s+(\\d+)`).exec(status)?.[1]) / 1024;
  return {
    cpuMs: (Number(fields[11]) + Number(fields[12])) * tickMs,
    residentMb: megabytes('VmRSS'),
    peakMb: megabytes('VmHWM'),
  };
}
