import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Client } from './client.ts';

/** The same program with another SDK inside for each dialect. */
function opencode(name: string, dialect: Client['dialect'], npm: string): Client {
  return {
    name,
    packageName: 'opencode-ai',
    dialect,
    turns: 3,
    prompts: (file) => [`call read ${JSON.stringify({ filePath: file })}`],
    prepare({ work, gatewayUrl, key, model, prompt }) {
      const gw = {
        npm,
        name: 'gw',
        options: { baseURL: `${gatewayUrl}/v1`, apiKey: key },
        models: { [model]: { name: model } },
      };
      writeFileSync(join(work, 'opencode.json'), JSON.stringify({ provider: { gw } }));
      // In an argument it would put the quotes of the prompt into quotes.
      return { command: 'opencode', words: ['run', '--model', `gw/${model}`], stdin: prompt };
    },
  };
}

export const opencodes: readonly Client[] = [
  opencode('opencode-chat', 'Chat Completions', '@ai-sdk/openai-compatible'),
  opencode('opencode-responses', 'Responses', '@ai-sdk/openai'),
  opencode('opencode-messages', 'Messages', '@ai-sdk/anthropic'),
];
