import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Client } from './client.ts';

export const geminiCli: Client = {
  name: 'gemini-cli',
  packageName: '@google/gemini-cli',
  dialect: 'Gemini',
  turns: 2,
  prompts: (file) => [`call read_file ${JSON.stringify({ file_path: file })}`],
  prepare({ home, gatewayUrl, key, model, prompt }) {
    const folder = join(home, '.gemini');
    mkdirSync(folder, { recursive: true });
    const settings = {
      security: { auth: { selectedType: 'gemini-api-key' } },
      privacy: { usageStatisticsEnabled: false },
      general: { disableAutoUpdate: true, disableUpdateNag: true },
    };
    writeFileSync(join(folder, 'settings.json'), JSON.stringify(settings));
    return {
      command: 'gemini',
      words: ['--model', model, '--yolo', '--prompt', prompt],
      environment: {
        GOOGLE_GEMINI_BASE_URL: gatewayUrl,
        GEMINI_API_KEY: key,
        GEMINI_CLI_TRUST_WORKSPACE: 'true',
      },
    };
  },
};
