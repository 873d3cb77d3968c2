import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Client, Place } from './client.ts';

const flags = ['--skip-git-repo-check', '--dangerously-bypass-approvals-and-sandbox'];

interface Variant extends Pick<Client, 'name' | 'prompts' | 'turns' | 'isOverWebSocket' | 'isCompressed'> {
  /** The lines in front of the tables. */
  head(place: Place): string;
  /** The name Codex knows the provider under. */
  readonly providerName?: string;
  /** The lines about the provider, behind those that all have; undefined for the one that is built in. */
  readonly provider?: string;
  readonly tables?: string;
  /** What is left of a login: with an account, or with a key. */
  readonly login?: (key: string) => object;
}

function codex({ head, provider, providerName = 'gw', tables = '', login, ...client }: Variant): Client {
  return {
    ...client,
    packageName: '@openai/codex',
    dialect: 'Responses',
    // It warns of a model it has not heard of. Anything else is a fault of ours, but that its home is a temporary folder.
    warnings: head === ownModel ? /\bERROR\b/ : /\bERROR\b|\bwarning: (?!.*PATH aliases)/i,
    prepare(place) {
      const { home, gatewayUrl, key, prompt, isContinued } = place;
      const folder = join(home, '.codex');
      mkdirSync(folder, { recursive: true });
      const url = `${gatewayUrl}/v1`;
      const own = [
        'model_provider = "gw"',
        '[model_providers.gw]',
        `name = "${providerName}"`,
        `base_url = "${url}"`,
        'wire_api = "responses"',
        provider,
      ];
      const config = [head(place), ...(provider ? own : [`openai_base_url = "${url}"`]), tables];
      writeFileSync(join(folder, 'config.toml'), config.join('\n'));
      if (login) writeFileSync(join(folder, 'auth.json'), JSON.stringify(login(key)));
      const resumed = isContinued ? ['resume', '--last'] : [];
      return {
        command: 'codex',
        words: ['exec', ...resumed, ...flags, '--', prompt],
        environment: { GW_KEY: key },
      };
    },
  };
}

/** The bearer is the gateway's key. */
function accountLogin(key: string) {
  const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const claims = {
    email: 'person@example.org',
    exp: 4_102_444_800,
    'https://api.openai.com/auth': { chatgpt_plan_type: 'pro', chatgpt_account_id: 'account' },
  };
  const idToken = `${part({ alg: 'none', typ: 'JWT' })}.${part(claims)}.${part('')}`;
  const tokens = { id_token: idToken, access_token: key, refresh_token: 'none', account_id: 'account' };
  return { auth_mode: 'chatgpt', OPENAI_API_KEY: null, tokens, last_refresh: new Date().toISOString() };
}

const withKey = 'env_key = "GW_KEY"';
const ownModel = ({ model }: Place) => `model = "${model}"`;
const itsModel = () => '';
const reads = (file: string) => [`call exec_command ${JSON.stringify({ cmd: `cat ${file}` })}`];
/** With its own models it writes programs that call its tools. */
const programs = (file: string) => {
  const input = `text((await tools.exec_command({ cmd: 'cat ${file}' })).output)`;
  return [`call functions__exec ${JSON.stringify({ input })}`];
};
const searches = (file: string) => [
  `call tool_search ${JSON.stringify({ query: 'read_note', limit: 1 })}`,
  `call mcp__archive__read_note ${JSON.stringify({ path: file })}`,
];

const archive = [
  '[mcp_servers.archive]',
  `command = ${JSON.stringify(process.execPath)}`,
  `args = [${JSON.stringify(join(import.meta.dirname, 'archive-server.ts'))}]`,
].join('\n');

export const codexes: readonly Client[] = [
  codex({ name: 'codex', turns: 2, head: ownModel, provider: withKey, prompts: reads }),
  codex({
    name: 'codex-websocket',
    turns: 2,
    isOverWebSocket: true,
    head: ownModel,
    provider: `${withKey}\nsupports_websockets = true`,
    prompts: reads,
  }),
  codex({ name: 'codex-default', turns: 2, head: itsModel, provider: withKey, prompts: programs }),
  codex({
    name: 'codex-mcp',
    turns: 4,
    head: () => 'model = "gpt-5.5"',
    provider: withKey,
    tables: archive,
    prompts: searches,
  }),
  codex({
    name: 'codex-key',
    turns: 2,
    isOverWebSocket: true,
    head: itsModel,
    login: (key) => ({ auth_mode: 'apikey', OPENAI_API_KEY: key }),
    prompts: programs,
  }),
  codex({
    name: 'codex-compact',
    turns: 3,
    isCompressed: true,
    login: accountLogin,
    // So little that it compacts after the first call.
    head: () => 'model_auto_compact_token_limit = 5',
    providerName: 'OpenAI',
    provider: 'requires_openai_auth = true',
    tables: '[features]\napps = false',
    prompts: programs,
  }),
  codex({
    name: 'codex-login',
    turns: 2,
    isCompressed: true,
    login: accountLogin,
    head: itsModel,
    // Compresses for a provider of this name only.
    providerName: 'OpenAI',
    provider: 'requires_openai_auth = true',
    // Apps are looked for at another host.
    tables: '[features]\napps = false',
    prompts: programs,
  }),
];
