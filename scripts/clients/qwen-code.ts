import type { Client } from './client.ts';

export const qwenCode: Client = {
  name: 'qwen-code',
  packageName: '@qwen-code/qwen-code',
  dialect: 'Chat Completions',
  turns: 2,
  prompts: (file) => [`call read_file ${JSON.stringify({ file_path: file })}`],
  prepare: ({ gatewayUrl, key, model, prompt }) => ({
    command: 'qwen',
    words: ['--auth-type', 'openai', '--model', model, '--yolo', prompt],
    environment: { OPENAI_BASE_URL: `${gatewayUrl}/v1`, OPENAI_API_KEY: key },
  }),
};
