import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Client } from './client.ts';

function cline(name: string, dialect: Client['dialect'], provider: string): Client {
  return {
    name,
    packageName: 'cline',
    dialect,
    turns: 2,
    prompts: (file) => [`call read_files ${JSON.stringify({ files: [{ path: file }] })}`],
    prepare({ home, gatewayUrl, key, model, prompt }) {
      // What `cline auth` writes, which takes an address for one of the providers only.
      const folder = join(home, '.cline', 'data', 'settings');
      mkdirSync(folder, { recursive: true });
      const settings = { provider, apiKey: key, model, baseUrl: `${gatewayUrl}/v1` };
      const entry = { settings, updatedAt: '2026-01-01T00:00:00.000Z', tokenSource: 'manual' };
      const file = { version: 1, lastUsedProvider: provider, modes: {}, providers: { [provider]: entry } };
      writeFileSync(join(folder, 'providers.json'), JSON.stringify(file));
      return { command: 'cline', words: ['--provider', provider, '--model', model, prompt] };
    },
  };
}

export const clines: readonly Client[] = [
  cline('cline-chat', 'Chat Completions', 'openai-compatible'),
  cline('cline-responses', 'Responses', 'openai-native'),
  cline('cline-messages', 'Messages', 'anthropic'),
];
