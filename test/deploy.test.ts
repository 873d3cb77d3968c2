import { execFile, spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { parseEnv, promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse, parseAllDocuments } from 'yaml';
import { loadConfig } from '../src/config.ts';
import { checkRunMode } from '../src/run-mode.ts';
import { settings } from '../src/settings.ts';

/**
 * The files by which operators install the services, judged by the programs that read them. Those come from
 * scripts/deploy-tools.sh, and systemd from the system; where one is missing its tests are skipped.
 */

const root = join(import.meta.dirname, '..');
const tools = join(root, 'node_modules/.cache/deploy-tools');
const run = promisify(execFile);
let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'warp2api-deploy-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function findTool(name: string): string | undefined {
  const places = [
    join(tools, 'bin'),
    join(tools, 'python/bin'),
    ...(process.env['PATH'] ?? '').split(delimiter),
  ];
  const found = places.map((place) => join(place, name)).find((file) => existsSync(file));
  if (found === undefined)
    console.log(`${name} is not here (scripts/deploy-tools.sh): its tests are skipped.`);
  return found;
}

const helm = findTool('helm');
const kubernetesValidate = findTool('kubernetes-validate');
const composeSpec = findTool('compose-spec');
const actionlint = findTool('actionlint');
const systemdAnalyze = findTool('systemd-analyze');

/** Names of variables that the services know, so that no file sets one that changes nothing. */
const isKnown = (name: string): boolean => Object.hasOwn(settings, name);

interface Container {
  readonly env: readonly { name: string }[];
  readonly securityContext: object;
  readonly readinessProbe: object;
  readonly livenessProbe: object;
}
interface Manifest {
  readonly kind: string;
  readonly metadata: { readonly name: string };
  readonly spec: {
    readonly template: {
      readonly spec: {
        readonly containers: readonly Container[];
        readonly volumes: readonly { name: string; persistentVolumeClaim?: object }[];
        readonly terminationGracePeriodSeconds: number;
        readonly securityContext: object;
      };
    };
    readonly replicas?: number;
  };
}

describe.skipIf(helm === undefined)('the Helm chart', () => {
  const keys = {
    ADMIN_KEY: 'a-key-of-the-owner-0001',
    GATEWAY_KEY: 'a-key-of-gateways-0001',
    API_KEYS: 'a-key-of-a-client-0001',
  };
  const plain = { secrets: { values: keys } };
  const shared = {
    image: { repository: 'registry.example/warp2api', tag: '1.2.3', pullSecrets: [{ name: 'registry' }] },
    secrets: { existing: 'warp2api-keys' },
    postgresql: true,
    config: { aliases: { small: 'gpt-5-mini' } },
    pool: { replicas: 2, env: { MIN_POOL_SIZE: 3 }, podAnnotations: { 'example.com/team': 'llm' } },
    gateway: {
      autoscaling: { enabled: true },
      nodeSelector: { 'kubernetes.io/arch': 'arm64' },
      tolerations: [{ key: 'dedicated', operator: 'Exists' }],
      service: { type: 'LoadBalancer', annotations: { 'example.com/internal': 'true' } },
    },
    networkPolicy: {
      clients: [{ namespaceSelector: {} }],
      operators: [{ namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'monitoring' } } }],
    },
    serviceMonitor: { enabled: true, labels: { release: 'prometheus' } },
  };

  async function render(values: object): Promise<string> {
    const file = join(mkdtempSync(join(folder, 'values-')), 'values.json');
    writeFileSync(file, JSON.stringify(values));
    const chart = join(root, 'deploy/helm/warp2api');
    const words = ['template', 'llm', chart, '--values', file];
    const { stdout } = await run(helm as string, words);
    await run(helm as string, ['lint', '--strict', chart, '--values', file]);
    return stdout;
  }
  const manifestsIn = (text: string): Manifest[] =>
    parseAllDocuments(text).map((document) => document.toJS() as Manifest);

  it.each([
    ['one pod of each service with files', plain],
    ['many pods on PostgreSQL', shared],
  ])('renders %s so that Kubernetes takes it', async (_what, values) => {
    const text = await render(values);
    const manifests = manifestsIn(text);
    const deployments = manifests.filter(({ kind }) => kind === 'Deployment');
    expect(deployments.map(({ metadata }) => metadata.name).sort()).toEqual([
      expect.stringMatching(/gateway$/),
      expect.stringMatching(/pool$/),
    ]);
    for (const { spec } of deployments) {
      const pod = spec.template.spec;
      expect(pod.securityContext).toMatchObject({ runAsNonRoot: true, runAsUser: 1000, fsGroup: 1000 });
      for (const container of pod.containers) {
        expect(container.securityContext).toMatchObject({
          readOnlyRootFilesystem: true,
          allowPrivilegeEscalation: false,
          capabilities: { drop: ['ALL'] },
        });
        expect(container.readinessProbe).toMatchObject({ httpGet: { path: '/health' } });
        expect(container.livenessProbe).toMatchObject({ httpGet: { path: '/health' } });
        expect(container.env.map(({ name }) => name).filter((name) => !isKnown(name))).toEqual([]);
      }
    }
    if (kubernetesValidate === undefined) return;
    const file = join(folder, 'rendered.yaml');
    const known = parseAllDocuments(text).filter((document) => document.get('kind') !== 'ServiceMonitor');
    writeFileSync(file, known.map(String).join('---\n'));
    for (const version of ['1.30', '1.37'])
      await run(kubernetesValidate, ['--strict', '--quiet', '-k', version, file]);
  });

  it('keeps the files of one pod on a volume, and shares out what many pods serve', async () => {
    const files = manifestsIn(await render(plain));
    const claims = files.filter(({ kind }) => kind === 'PersistentVolumeClaim');
    expect(claims.map(({ metadata }) => metadata.name).sort()).toEqual([
      'llm-warp2api-gateway',
      'llm-warp2api-pool',
    ]);
    const kinds = manifestsIn(await render(shared)).map(({ kind }) => kind);
    for (const kind of ['HorizontalPodAutoscaler', 'PodDisruptionBudget', 'NetworkPolicy', 'ServiceMonitor'])
      expect(kinds).toContain(kind);
    expect(kinds).not.toContain('PersistentVolumeClaim');
    expect(kinds).not.toContain('Secret');
  });

  it.each([
    ['several gateways without PostgreSQL', { ...plain, gateway: { replicas: 2 } }, /need PostgreSQL/],
    ['several pools without PostgreSQL', { ...plain, pool: { replicas: 2 } }, /need PostgreSQL/],
    ['no keys', {}, /set secrets\.values\.ADMIN_KEY/],
    [
      'several pools that each make a master key',
      {
        secrets: { values: { ...keys, DATABASE_URL: 'postgres://u:p@h/d' } },
        postgresql: true,
        pool: { replicas: 2 },
      },
      /same master key/,
    ],
    ['a value that it does not know', { ...plain, gateways: {} }, /gateways/],
    ['a value of another kind', { ...plain, pool: { replicas: 'two' } }, /replicas/],
  ])('refuses %s', async (_what, values, reason) => {
    await expect(render(values)).rejects.toMatchObject({ message: expect.stringMatching(reason) });
  });
});

interface ComposeFile {
  readonly services: Record<
    string,
    { environment?: Record<string, string>; read_only?: boolean; cap_drop?: string[]; command?: string[] }
  >;
  readonly configs: Record<string, { file?: string }>;
}

describe('compose.yaml', () => {
  const text = readFileSync(join(root, 'compose.yaml'), 'utf8');
  const compose = parse(text, { merge: true }) as ComposeFile;

  it('sets what the services know, and gives them a root they cannot write to', () => {
    for (const name of ['pool', 'gateway']) {
      const service = compose.services[name];
      expect(service).toMatchObject({ command: ['serve', name], read_only: true, cap_drop: ['ALL'] });
      expect(Object.keys(service?.environment ?? {}).filter((one) => !isKnown(one))).toEqual([]);
    }
  });

  it('names files that are there', () => {
    const files = Object.values(compose.configs).flatMap(({ file }) => file ?? []);
    expect(files.length).toBeGreaterThan(0);
    expect(files.filter((file) => !existsSync(join(root, file)))).toEqual([]);
  });

  it.skipIf(composeSpec === undefined)('is taken by the reference implementation', async () => {
    const check = (file: string) => run(composeSpec as string, ['-no-interpolation', file], { cwd: root });
    expect((await check('compose.yaml')).stdout).toContain('postgres');
    const bad = join(folder, 'compose.yaml');
    writeFileSync(bad, text.replace('read_only: true', 'read_onli: true'));
    await expect(check(bad)).rejects.toMatchObject({ stderr: expect.stringContaining('read_onli') });
  });
});

describe('the Dockerfile', () => {
  const dockerfile = readFileSync(join(root, 'Dockerfile'), 'utf8');

  it('is given only what is there and needed', () => {
    const lines = readFileSync(join(root, '.dockerignore'), 'utf8').split('\n');
    const [all, ...named] = lines.filter((line) => line !== '' && !line.startsWith('#'));
    expect(all).toBe('*');
    expect(named.filter((line) => !/^![\w.-]+$/.test(line))).toEqual([]);
    expect(named.filter((line) => !existsSync(join(root, line.slice(1))))).toEqual([]);
  });

  it('ends with a user of its own, a health check, and settings that the services know', () => {
    const image = dockerfile.slice(dockerfile.lastIndexOf('\nFROM '));
    expect(image).toMatch(/^USER 1000:1000$/m);
    expect(image).toMatch(/^VOLUME \/data$/m);
    const [, health = ''] = /^HEALTHCHECK.*\n +CMD (\[.*\])$/m.exec(image) ?? [];
    expect(JSON.parse(health)).toMatchObject(['node', '-e', expect.any(String)]);
    const set = [...image.matchAll(/^(?:ENV| {3}) ([A-Z_]+)=/gm)].map(([, name = '']) => name);
    expect(set).toContain('DATA_DIR');
    const ofNode = ['MALLOC_MMAP_THRESHOLD_', 'MALLOC_ARENA_MAX', 'NODE_ENV'];
    expect(set.filter((name) => !isKnown(name) && !ofNode.includes(name))).toEqual([]);
  });
});

describe('the units of systemd', () => {
  const place = join(root, 'deploy/systemd');
  const units = readdirSync(place).filter((name) => name.endsWith('.service'));

  it.each(units)('%s sets what the service knows', (unit) => {
    const text = readFileSync(join(place, unit), 'utf8');
    const set = [...text.matchAll(/^Environment=(.*)$/gm)].flatMap(([, line = '']) =>
      line.split(' ').map((word) => word.split('=', 1)[0] ?? ''),
    );
    expect(set).toContain('DATA_DIR');
    expect(set.filter((name) => !isKnown(name))).toEqual([]);
  });

  it.skipIf(systemdAnalyze === undefined)('are taken by systemd, and shut in', () => {
    // Verified as they are but for the program, which is not installed here.
    const program = join(folder, 'warp2api');
    writeFileSync(program, '#!/bin/sh\n');
    chmodSync(program, 0o755);
    const copies = join(folder, 'units');
    mkdirSync(copies);
    for (const unit of units) {
      const text = readFileSync(join(place, unit), 'utf8').replace(
        'ExecStart=warp2api',
        `ExecStart=${program}`,
      );
      const file = join(copies, unit);
      writeFileSync(file, text);
      const verified = spawnSync(systemdAnalyze as string, ['verify', file], { encoding: 'utf8' });
      expect([unit, verified.status, verified.stderr]).toEqual([unit, 0, '']);
      const words = ['security', '--offline=true', '--threshold=20', file];
      const judged = spawnSync(systemdAnalyze as string, words, { encoding: 'utf8' });
      expect([unit, judged.status, judged.stderr]).toEqual([unit, 0, '']);
    }
  });
});

describe('docs/install.md', () => {
  const text = readFileSync(join(root, 'docs/install.md'), 'utf8');
  const lines = [...text.matchAll(/^```sh\n(.*?)^```/gms)].flatMap(([, code = '']) =>
    code.trim().split('\n'),
  );
  const beginning = (word: string) => lines.filter((line) => line.startsWith(`${word} `));
  const docker = findTool('docker');

  it('makes an .env that compose and the services take', async () => {
    const line = lines.find((one) => one.endsWith('> .env')) ?? '';
    await run('sh', ['-c', line], { cwd: folder });
    const made = parseEnv(readFileSync(join(folder, '.env'), 'utf8'));
    const wanted = [...readFileSync(join(root, 'compose.yaml'), 'utf8').matchAll(/\$\{(\w+):\?/g)];
    expect(wanted.map(([, name = '']) => name).filter((name) => (made[name] ?? '').length < 32)).toEqual([]);
    const config = loadConfig({ ...made, HOST: '0.0.0.0', POOL_SERVICE_HOST: '0.0.0.0' }, folder);
    checkRunMode(config, 'pool');
    checkRunMode(config, 'gateway');
  });

  it.skipIf(docker === undefined)('gives Docker only flags that it has', () => {
    const commands = [...beginning('docker build'), ...beginning('docker run'), ...beginning('docker exec')];
    expect(commands.length).toBeGreaterThan(3);
    for (const command of commands) {
      // No daemon is there: what is left to fail is its absence.
      const env = { ...process.env, DOCKER_HOST: `unix://${join(folder, 'none.sock')}` };
      const { stderr } = spawnSync('sh', ['-c', command], { cwd: root, env, encoding: 'utf8' });
      expect([command, stderr]).toEqual([
        command,
        expect.stringMatching(/connect to the docker|no such file/i),
      ]);
    }
  });

  it.skipIf(helm === undefined)('gives Helm only values that the chart has', async () => {
    const [install = '', upgrade = ''] = beginning('helm');
    const set = [...`${install} ${upgrade}`.matchAll(/--set \S+/g)].flatMap(([words]) => words.split(' '));
    expect(set.length).toBeGreaterThan(8);
    const { stdout } = await run(helm as string, ['template', 'warp2api', 'deploy/helm/warp2api', ...set], {
      cwd: root,
    });
    // The names that the commands there speak of.
    for (const name of beginning('kubectl').flatMap((line) => /deploy\/(\S+)/.exec(line)?.[1] ?? []))
      expect(stdout).toContain(`name: ${name}\n`);
  });

  it('names files that are there', () => {
    const named = lines.flatMap((line) => line.match(/\bdeploy\/[\w./-]+/g) ?? []);
    const inRepository = named.filter((name) => !/^deploy\/warp2api-(pool|gateway)$/.test(name));
    expect(inRepository.length).toBeGreaterThan(2);
    expect(inRepository.filter((name) => !existsSync(join(root, name)))).toEqual([]);
  });
});

describe('the workflows', () => {
  it.skipIf(actionlint === undefined)('are taken by actionlint', async () => {
    expect((await run(actionlint as string, ['-no-color'], { cwd: root })).stdout).toBe('');
  });

  it('release only what CHANGELOG.md tells of', async () => {
    const notes = (version: string) =>
      run(process.execPath, ['scripts/release-notes.ts', version], { cwd: root });
    const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
    await expect(notes('99.0.0')).rejects.toMatchObject({ stderr: expect.stringContaining(version) });
    if (readFileSync(join(root, 'CHANGELOG.md'), 'utf8').includes(`## ${version}`))
      expect((await notes(version)).stdout).toMatch(/^- /m);
    else
      await expect(notes(version)).rejects.toMatchObject({ stderr: expect.stringContaining('Unreleased') });
  });
});
