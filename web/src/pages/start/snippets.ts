/** How clients are set up: as docs/clients.md has it, with the address and the key filled in. */

export interface Access {
  /** Of the gateway, without a path. */
  readonly address: string;
  readonly key: string;
  readonly model: string;
}

export interface Snippet {
  /** Where it goes: a file, else a terminal or a program. */
  readonly place: 'shell' | 'code' | { readonly file: string };
  readonly text: string;
}

export interface Client {
  readonly id: string;
  readonly name: string;
  readonly snippets: (access: Access) => readonly Snippet[];
}

const question = '"What is in README.md?"';

export const clients: readonly Client[] = [
  {
    id: 'curl',
    name: 'curl',
    snippets: ({ address, key, model }) => [
      {
        place: 'shell',
        text: `curl ${word(`${address}/v1/chat/completions`)} \\
  -H ${word(`Authorization: Bearer ${key}`)} -H 'Content-Type: application/json' \\
  -d ${word(JSON.stringify({ model, messages: [{ role: 'user', content: 'Hello' }] }))}`,
      },
    ],
  },
  {
    id: 'claude-code',
    name: 'Claude Code',
    snippets: ({ address, key, model }) => [
      {
        place: 'shell',
        text: `export ANTHROPIC_BASE_URL=${word(address)} ANTHROPIC_API_KEY=${word(key)}
claude --model ${word(model)}`,
      },
    ],
  },
  {
    id: 'codex',
    name: 'Codex',
    snippets: ({ address, key, model }) => [
      {
        place: { file: '~/.codex/config.toml' },
        text: `model = ${JSON.stringify(model)}
model_provider = "warp2api"

[model_providers.warp2api]
name = "warp2api"
base_url = ${JSON.stringify(`${address}/v1`)}
wire_api = "responses"
env_key = "WARP2API_KEY"`,
      },
      { place: 'shell', text: `WARP2API_KEY=${word(key)} codex exec -- ${question}` },
    ],
  },
  {
    id: 'gemini-cli',
    name: 'Gemini CLI',
    snippets: ({ address, key, model }) => [
      {
        place: { file: '~/.gemini/settings.json' },
        text: '{ "security": { "auth": { "selectedType": "gemini-api-key" } } }',
      },
      {
        place: 'shell',
        text: `export GOOGLE_GEMINI_BASE_URL=${word(address)} GEMINI_API_KEY=${word(key)}
gemini --model ${word(model)} --prompt ${question}`,
      },
    ],
  },
  {
    id: 'opencode',
    name: 'opencode',
    snippets: ({ address, key, model }) => [
      {
        place: { file: 'opencode.json' },
        text: JSON.stringify(
          {
            provider: {
              warp2api: {
                npm: '@ai-sdk/openai-compatible',
                name: 'warp2api',
                options: { baseURL: `${address}/v1`, apiKey: key },
                models: { [model]: { name: model } },
              },
            },
          },
          null,
          2,
        ),
      },
      { place: 'shell', text: `opencode run --model ${word(`warp2api/${model}`)} ${question}` },
    ],
  },
  {
    id: 'openai-python',
    name: 'OpenAI SDK (Python)',
    snippets: ({ address, key, model }) => [
      {
        place: 'code',
        text: `from openai import OpenAI

client = OpenAI(base_url=${JSON.stringify(`${address}/v1`)}, api_key=${JSON.stringify(key)})
answer = client.responses.create(model=${JSON.stringify(model)}, input="Hello")
print(answer.output_text)`,
      },
    ],
  },
  {
    id: 'openai-js',
    name: 'OpenAI SDK (JavaScript)',
    snippets: ({ address, key, model }) => [
      {
        place: 'code',
        text: `import OpenAI from 'openai';

const client = new OpenAI({ baseURL: ${JSON.stringify(`${address}/v1`)}, apiKey: ${JSON.stringify(key)} });
const answer = await client.responses.create({ model: ${JSON.stringify(model)}, input: 'Hello' });
console.log(answer.output_text);`,
      },
    ],
  },
  {
    id: 'anthropic-js',
    name: 'Anthropic SDK',
    snippets: ({ address, key, model }) => [
      {
        place: 'code',
        text: `import Anthropic from '@anthropic-ai/sdk';

const client = new Anthropic({ baseURL: ${JSON.stringify(address)}, apiKey: ${JSON.stringify(key)} });
const message = await client.messages.create({
  model: ${JSON.stringify(model)}, max_tokens: 1000, messages: [{ role: 'user', content: 'Hello' }] });
for (const block of message.content) if (block.type === 'text') console.log(block.text);`,
      },
    ],
  },
];

/** A word of a shell's line, in quotes where it needs them. */
function word(text: string): string {
  return /^[\w./:@%+=,-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}
