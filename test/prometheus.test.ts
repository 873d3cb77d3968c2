import { execFile, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { AppError, errorCodes } from '../src/core/errors.ts';
import { findFreePort } from '../src/core/testing/free-port.ts';
import { eventually, startTestServices, userTurn } from './support/services.ts';

const run = promisify(execFile);
const deploy = resolve(import.meta.dirname, '../deploy');
const rulesFile = join(deploy, 'prometheus/warp2api.rules.yaml');
const adminKey = 'the-key-of-the-owner';
const headers = { authorization: `Bearer ${adminKey}` };

const hasPrometheus = spawnSync('promtool', ['--version']).status === 0;
if (!hasPrometheus && process.env['REQUIRE_PROMETHEUS'] === '1')
  throw new Error('promtool is not installed.');
if (!hasPrometheus) console.warn('Tests with Prometheus are skipped: promtool is not installed.');

/** Services that have answered a turn, with all figures that come with one. */
async function usedServices() {
  const receiver = 'http://127.0.0.1:9';
  const services = await startTestServices({
    ADMIN_KEY: adminKey,
    API_KEYS: 'clients-key',
    OTEL_EXPORTER_OTLP_ENDPOINT: receiver,
  });
  await fetch(`${services.poolUrl}/api/accounts`, {
    method: 'POST',
    headers,
    body: JSON.stringify({ provider: 'warp', api_key: 'wk-1.good' }),
  });
  const turn = userTurn('sandbox', 'Hello', { stream: true });
  const answer = await services.chat(turn, { authorization: 'Bearer clients-key' });
  expect(answer.status).toBe(200);
  await answer.text();
  const metricsOf = async (url: string) => await (await fetch(`${url}/metrics`, { headers })).text();
  return { ...services, metricsOf };
}

/** Names of metrics as queries write them. */
function metricsIn(query: string): string[] {
  const words = query.replace(/"[^"]*"/g, '').replace(/\bby \([^)]*\)/g, '');
  return (words.match(/\b(warp2api|process|nodejs)_[a-z0-9_]+/g) ?? []).map((name) =>
    name.replace(/_(bucket|sum|count)$/, ''),
  );
}

function queriesIn(value: unknown): string[] {
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([name, inner]) =>
    (name === 'expr' || name === 'definition') && typeof inner === 'string' ? [inner] : queriesIn(inner),
  );
}

describe('the figures of both services', () => {
  let figures: readonly string[];
  beforeAll(async () => {
    const services = await usedServices();
    figures = await Promise.all([services.gatewayUrl, services.poolUrl].map(services.metricsOf));
    await services.close();
  });

  test.skipIf(!hasPrometheus)('are named as Prometheus wants them', () => {
    for (const text of figures) {
      const { status, stderr } = spawnSync('promtool', ['check', 'metrics'], {
        input: text,
        encoding: 'utf8',
      });
      expect([status, stderr]).toEqual([0, '']);
    }
    const planted = `${figures[0]}\n# HELP planted_total a gauge\n# TYPE planted_total gauge\nplanted_total 1\n`;
    expect(spawnSync('promtool', ['check', 'metrics'], { input: planted }).status).not.toBe(0);
  });

  test.each(['grafana/warp2api.json', 'prometheus/warp2api.rules.yaml'])(
    'are all that %s asks for',
    (file) => {
      const text = readFileSync(join(deploy, file), 'utf8');
      const queries = file.endsWith('.json')
        ? queriesIn(JSON.parse(text))
        : [text.replace(/(description|summary):.*/g, '')];
      const asked = new Set(queries.flatMap(metricsIn));
      const known = new Set(figures.join('\n').match(/(?<=^# TYPE )\S+/gm));
      expect(asked.size).toBeGreaterThan(10);
      expect([...asked].filter((name) => !known.has(name))).toEqual([]);
    },
  );
});

test('no alert mixes installations, and the dashboard shows those that are chosen', () => {
  const rules = readFileSync(join(deploy, 'prometheus/warp2api.rules.yaml'), 'utf8');
  const added = rules.match(/\b(sum|max|min)\b[^(]*\([^)]*\)?/g) ?? [];
  expect(added.length).toBeGreaterThan(15);
  expect(added.filter((one) => !one.includes('by (installation'))).toEqual([]);

  const dashboard: unknown = JSON.parse(readFileSync(join(deploy, 'grafana/warp2api.json'), 'utf8'));
  const queries = queriesIn(dashboard).filter((query) => metricsIn(query).length > 0);
  const unfiltered = queries.filter(
    (query) => query.match(/installation=~"\$installation"/g)?.length !== metricsIn(query).length,
  );
  expect([queries.length > 30, unfiltered]).toEqual([true, []]);
  const highest = queries.flatMap((query) => query.match(/\bmax by \([^)]*\) \(warp2api_pool/g) ?? []);
  expect(highest.filter((one) => !one.includes('installation'))).toEqual([]);
});

test('the alert and the panel of turns that fail count every error that is no fault of the client', () => {
  const counted = ['prometheus/warp2api.rules.yaml', 'grafana/warp2api.json'].map((file) => {
    const text = readFileSync(join(deploy, file), 'utf8');
    return new RegExp(`^(${/outcome=~\\?"(.+?)\\?"/.exec(text)?.[1]})$`);
  });
  // A stop is meant, and a turn that was interrupted by one is counted by no gateway.
  const meant = ['shutting_down', 'turn_interrupted'];
  const failures = errorCodes.filter((code) => new AppError(code, '').status >= 500 && !meant.includes(code));
  expect(failures).toContain('no_account_available');
  for (const pattern of counted) expect(failures.filter((code) => !pattern.test(code))).toEqual([]);
});

describe.skipIf(!hasPrometheus)('Prometheus', () => {
  test('takes the alerts, which fire as they should', async () => {
    await run('promtool', ['check', 'rules', rulesFile]);
    await run('promtool', ['test', 'rules', rulesFile.replace('.rules.', '.rules.test.')]);
  });

  test('reads both services with the ADMIN_KEY and answers queries about them', async () => {
    const services = await usedServices();
    onTestFinished(() => services.close());
    const folder = mkdtempSync(join(tmpdir(), 'warp2api-prometheus-'));
    const targets = [services.gatewayUrl, services.poolUrl].map((url) => new URL(url).host);
    const config = readFileSync(join(deploy, 'prometheus/prometheus.yaml'), 'utf8')
      .replace('127.0.0.1:8018', targets[0] ?? '')
      .replace('127.0.0.1:8019', targets[1] ?? '')
      .replaceAll('15s', '1s')
      .replace('warp2api.rules.yaml', rulesFile);
    expect(config).toContain(targets[1]);
    writeFileSync(join(folder, 'admin-key'), adminKey, { mode: 0o600 });
    writeFileSync(join(folder, 'prometheus.yaml'), config);
    await run('promtool', ['check', 'config', join(folder, 'prometheus.yaml')]);
    const url = `http://127.0.0.1:${await findFreePort()}`;
    const child = spawn(
      'prometheus',
      [
        `--config.file=${join(folder, 'prometheus.yaml')}`,
        `--storage.tsdb.path=${join(folder, 'data')}`,
        `--web.listen-address=${new URL(url).host}`,
      ],
      { stdio: 'ignore' },
    );
    const ended = new Promise((resolve) => child.once('exit', resolve));
    onTestFinished(async () => {
      child.kill('SIGKILL');
      await ended;
      rmSync(folder, { recursive: true });
    });
    const query = async (text: string): Promise<string | undefined> => {
      const answer = await fetch(`${url}/api/v1/query?query=${encodeURIComponent(text)}`).catch(
        () => undefined,
      );
      if (!answer?.ok) return undefined;
      const said = (await answer.json()) as { data: { result: { value: [number, string] }[] } };
      return said.data.result[0]?.value[1];
    };
    await eventually('both are read', async () => (await query('sum(up{job="warp2api"})')) === '2');
    expect(await query('sum(warp2api_gateway_turns_total{outcome="success"})')).toBe('1');
    expect(await query('sum(warp2api_pool_accounts{state="active"})')).toBe('1');
    await eventually('every alert is evaluated', async () => {
      const { data } = (await (await fetch(`${url}/api/v1/rules`)).json()) as {
        data: { groups: { rules: { health: string }[] }[] };
      };
      const rules = data.groups.flatMap((group) => group.rules);
      return rules.length > 5 && rules.every(({ health }) => health === 'ok');
    });
  });
});
