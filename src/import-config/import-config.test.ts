import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { loadConfig } from '../config.ts';
import { importConfig } from './import-config.ts';

/** What becomes of the file, and the configuration that the gateway reads of that. */
function converted(name: string, text: string) {
  const folder = mkdtempSync(join(tmpdir(), 'warp2api-import-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  writeFileSync(join(folder, name), text);
  const result = importConfig(join(folder, name));
  writeFileSync(join(folder, 'warp2api.yaml'), result.yaml);
  const { routes, providers, aliases, models } = loadConfig({}, folder);
  return { ...result, routes, providers, aliases, models };
}

const litellm = `
model_list:
  - model_name: gpt-4o
    litellm_params: { model: azure/gpt-4o-eu, api_base: "https://mine.openai.azure.com/", api_key: os.environ/AZURE_KEY, rpm: 6 }
  - model_name: gpt-4o
    litellm_params: { model: openai/gpt-4o, api_key: os.environ/OPENAI_API_KEY, rpm: 2, temperature: 0.2 }
  - model_name: claude
    litellm_params: { model: claude-sonnet-4-5, api_key: sk-ant-literal-secret }
    model_info: { max_input_tokens: 150000, input_cost_per_token: 0.000003, output_cost_per_token: 0.000015 }
  - model_name: local
    litellm_params: { model: openai/qwen3, api_base: "http://10.0.0.5:8000/v1", api_key: none }
  - model_name: anthropic/*
    litellm_params: { model: anthropic/*, api_key: os.environ/ANTHROPIC_API_KEY }
  - model_name: bedrock-claude
    litellm_params: { model: bedrock/anthropic.claude-v2, aws_region_name: us-east-1 }
  - model_name: "llama-*"
    litellm_params: { model: groq/*, api_key: os.environ/GROQ_API_KEY, order: 2 }
litellm_settings:
  drop_params: true
  num_retries: 3
  fallbacks: [{ gpt-4o: [claude, nowhere] }]
  context_window_fallbacks: [{ local: [claude] }]
router_settings:
  routing_strategy: simple-shuffle
  model_group_alias: { gpt-4: gpt-4o, hidden-one: { model: claude, hidden: true } }
general_settings: { master_key: os.environ/LITELLM_MASTER_KEY, database_url: "postgres://u:very-secret@h/d" }
environment_variables: { REDIS_PASSWORD: redis-secret }
`;

describe("LiteLLM's config.yaml", () => {
  it('becomes providers, routes with weights and fallbacks, aliases and what is known of models', () => {
    const { routes, providers, aliases, models } = converted('config.yaml', litellm);
    expect(providers).toMatchObject({
      'azure-openai': { type: 'openai_compatible', baseUrl: 'https://mine.openai.azure.com/openai/v1' },
      server: { type: 'openai_compatible', baseUrl: 'http://10.0.0.5:8000/v1', mayBePrivate: true },
    });
    const shown = routes.map(({ model, candidates }) => [
      model,
      candidates.map((one) => `${one.tier} ${one.weight} ${one.provider}/${one.model}`),
    ]);
    expect(Object.fromEntries(shown)).toEqual({
      'gpt-4o': ['1 6 azure-openai/gpt-4o-eu', '1 2 openai/gpt-4o', '2 1 anthropic/claude-sonnet-4-5'],
      claude: ['1 1 anthropic/claude-sonnet-4-5'],
      local: ['1 1 server/qwen3', '2 1 anthropic/claude-sonnet-4-5'],
      'llama-*': ['2 1 groq/*'],
    });
    expect(aliases).toEqual({ 'gpt-4': 'gpt-4o', 'hidden-one': 'claude' });
    expect(models['anthropic/claude-sonnet-4-5']).toMatchObject({
      contextWindow: 150_000,
      price: { input: 3, output: 15 },
    });
  });

  it('says what was left out and how keys become accounts, and shows none of them', () => {
    const { yaml, notes, commands } = converted('config.yaml', litellm);
    expect(commands).toContain(
      'printf %s "$AZURE_KEY" | warp2api account add --provider azure-openai --api-key -',
    );
    expect(commands).toContain(
      'warp2api account add --provider anthropic --api-key - # then paste the key of model_list[2] (claude)',
    );
    const said = notes.join('\n');
    for (const part of [
      '"bedrock"',
      'temperature',
      'nowhere',
      'num_retries',
      'LITELLM_MASTER_KEY',
      'database_url',
    ])
      expect(said).toContain(part);
    expect(said).toContain('anthropic/* needs no route');
    expect(yaml).toContain('# Not converted:');
    expect(yaml + said + commands.join('\n')).not.toMatch(/literal-secret|very-secret|redis-secret/);
  });

  const modelsOf = (...params: string[]) =>
    `model_list:\n${params.map((one, index) => `  - { model_name: m${index}, litellm_params: { ${one} } }\n`).join('')}`;

  it.each([
    ['ollama/llama3.1, api_base: "http://gpu.lan:11434"', 'http://gpu.lan:11434/v1'],
    ['ollama_chat/llama3.1, api_base: "http://gpu.lan:11434/v1/"', 'http://gpu.lan:11434/v1'],
    ['openai/x, api_base: "http://0.0.0.0:4000/v1"', 'http://127.0.0.1:4000/v1'],
    ['litellm_proxy/x, api_base: "https://proxy.example"', 'https://proxy.example'],
    [
      'openai/x, api_base: "https://a:p4ss-secret@host.example/v1?key=sk-secret#x"',
      'https://host.example/v1',
    ],
  ])('reads the address of %s', (params, baseUrl) => {
    const { providers, yaml, notes, commands } = converted('config.yaml', modelsOf(`model: ${params}`));
    expect(Object.values(providers)).toMatchObject([{ baseUrl }]);
    expect(yaml + notes.join('\n')).not.toContain('secret');
    const [name] = Object.keys(providers);
    expect(commands).toEqual([
      `warp2api account add --provider ${name} # with --api-key - if it needs a key`,
    ]);
  });

  it('names addresses that are no servers', () => {
    const given = [
      'ftp://a.example',
      'http://169.254.169.254/v1',
      'localhost:11434',
      'https://a.example:99999',
    ];
    const params = given.map((base) => `model: openai/x, api_base: "${base}"`);
    const { notes, yaml } = converted('config.yaml', modelsOf(...params, 'model: litellm_proxy/x'));
    expect(notes).toHaveLength(given.length + 1);
    expect(yaml).not.toContain('routes:');
  });

  it('keeps weights and tiers within what routes may say', () => {
    const list = modelsOf(
      'model: groq/a, tpm: 40000000, order: -1',
      'model: groq/b, tpm: 10000000, order: 5000',
    ).replaceAll(/m\d,/g, 'same,');
    const [route] = converted('config.yaml', list).routes;
    expect(route?.candidates).toMatchObject([
      { tier: 0, weight: 1_000_000 },
      { tier: 1_000, weight: 250_000 },
    ]);
  });

  it('asks for the keys that LiteLLM reads from variables of its own, and knows models without a prefix', () => {
    const { commands } = converted('config.yaml', modelsOf('model: groq/a', 'model: whisper-1'));
    expect(commands).toEqual([
      'warp2api account add --provider groq --api-key - # then paste its key',
      'warp2api account add --provider openai --api-key - # then paste its key',
    ]);
  });
});

const router = `{
  // As its users write it.
  "APIKEY": "own-secret",
  "Providers": [
    { "name": "openrouter", "api_base_url": "https://openrouter.ai/api/v1/chat/completions", "api_key": "$OPENROUTER_API_KEY",
      "models": ["anthropic/claude-sonnet-4"], "transformer": { "use": ["openrouter"] } },
    { "name": "ollama", "api_base_url": "http://localhost:11434/v1/chat/completions", "api_key": "ollama", "models": ["qwen"] },
    { "name": "gemini", "api_base_url": "https://generativelanguage.googleapis.com/v1beta/models/", "api_key": "sk-literal-secret" },
    { "name": "My Relay", "api_base_url": "https://relay.example/v1/messages", "api_key": "x" },
  ],
  "Router": {
    "default": "openrouter,anthropic/claude-sonnet-4", "background": "ollama,qwen",
    "think": "My Relay,deep", "longContext": "gemini,gemini-2.5-pro", "longContextThreshold": 80000, "webSearch": "gone,x",
  },
}`;

describe("claude-code-router's config.json", () => {
  it('becomes routes of the names that Claude Code asks for', () => {
    const { routes, providers, notes, commands, yaml } = converted('config.json', router);
    expect(providers).toMatchObject({
      'my-relay': { type: 'anthropic_compatible', baseUrl: 'https://relay.example' },
    });
    expect(Object.keys(providers)).toHaveLength(1);
    const [background, usual] = routes;
    expect([background?.model, usual?.model]).toEqual(['claude-*haiku*', 'claude-*']);
    expect(background?.candidates[0]).toMatchObject({ provider: 'ollama', model: 'qwen' });
    expect(usual?.candidates).toMatchObject([
      { provider: 'openrouter', model: 'anthropic/claude-sonnet-4', when: { maxContext: 80_000 } },
      { provider: 'gemini', model: 'gemini-2.5-pro' },
    ]);
    expect(commands[0]).toBe(
      'printf %s "$OPENROUTER_API_KEY" | warp2api account add --provider openrouter --api-key -',
    );
    expect(notes.join('\n')).toMatch(/Router\.think.*\n.*Router\.webSearch/);
    expect(yaml + notes.join('') + commands.join('')).not.toMatch(/literal-secret|own-secret/);
  });
});

it('another file, or one that is not valid, is refused without showing what is in it', () => {
  expect(() => converted('config.yaml', 'a: b')).toThrow('is neither a config.yaml of LiteLLM');
  expect(() => converted('config.yaml', 'a: [sk-secret')).toThrow(/line 1 is not valid YAML/);
  expect(() => converted('config.json', '{"key": sk-secret}')).toThrow(/is not valid JSON\.$/);
});
