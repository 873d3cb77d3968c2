import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Client } from './client.ts';

function continueCli(name: string, dialect: Client['dialect'], provider: string): Client {
  return {
    name,
    packageName: '@continuedev/cli',
    dialect,
    turns: 2,
    prompts: (file) => [`call Read ${JSON.stringify({ filepath: file })}`],
    prepare({ home, gatewayUrl, key, model, prompt }) {
      const file = join(home, 'continue.yaml');
      const entry = {
        name: 'gw',
        provider,
        model,
        apiBase: `${gatewayUrl}/v1`,
        apiKey: key,
        roles: ['chat'],
      };
      const models = [{ ...entry, capabilities: ['tool_use'] }];
      // JSON is YAML too.
      writeFileSync(file, JSON.stringify({ name: 'gw', version: '1.0.0', schema: 'v1', models }));
      return { command: 'cn', words: ['--config', file, '--auto', '-p', prompt] };
    },
  };
}

export const continues: readonly Client[] = [
  continueCli('continue-chat', 'Chat Completions', 'openai'),
  continueCli('continue-messages', 'Messages', 'anthropic'),
];
