import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Client } from './client.ts';

function continueCli(name: string, dialect: Client['dialect'], provider: string): Client {
  return {
    name,
    packageName: '@continuedev/cli',
    dialect,
    turns: 2,
    prompt: (file) => `call Read ${JSON.stringify({ filepath: file })}`,
    prepare({ home, gatewayUrl, prompt }) {
      const file = join(home, 'continue.yaml');
      const model = `  - name: gw\n    provider: ${provider}\n    model: sandbox\n    apiBase: ${gatewayUrl}/v1\n    apiKey: any\n`;
      writeFileSync(
        file,
        `name: gw\nversion: 1.0.0\nschema: v1\nmodels:\n${model}    roles: [chat]\n    capabilities: [tool_use]\n`,
      );
      return { command: 'cn', words: ['--config', file, '--auto', '-p', prompt] };
    },
  };
}

export const continues: readonly Client[] = [
  continueCli('continue-chat', 'Chat Completions', 'openai'),
  continueCli('continue-messages', 'Messages', 'anthropic'),
];
