import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Client } from './client.ts';

function pi(name: string, dialect: Client['dialect'], api: string, path: string): Client {
  return {
    name,
    packageName: '@mariozechner/pi-coding-agent',
    dialect,
    turns: 2,
    prompts: (file) => [`call read ${JSON.stringify({ path: file })}`],
    prepare({ home, gatewayUrl, key, model, prompt }) {
      const folder = join(home, '.pi', 'agent');
      mkdirSync(folder, { recursive: true });
      const gw = { baseUrl: gatewayUrl + path, api, apiKey: key, models: [{ id: model }] };
      writeFileSync(join(folder, 'models.json'), JSON.stringify({ providers: { gw } }));
      return { command: 'pi', words: ['--offline', '--provider', 'gw', '--model', model, '-p', prompt] };
    },
  };
}

export const pis: readonly Client[] = [
  pi('pi-chat', 'Chat Completions', 'openai-completions', '/v1'),
  pi('pi-responses', 'Responses', 'openai-responses', '/v1'),
  pi('pi-messages', 'Messages', 'anthropic-messages', ''),
];
