import type { Client } from './client.ts';

export const qwenCode: Client = {
  name: 'qwen-code',
  packageName: '@qwen-code/qwen-code',
  dialect: 'Chat Completions',
  turns: 2,
  prompt: (file) => `call read_file ${JSON.stringify({ file_path: file })}`,
  prepare: ({ gatewayUrl, prompt }) => ({
    command: 'qwen',
    words: ['--auth-type', 'openai', '--model', 'sandbox', '--yolo', prompt],
    environment: { OPENAI_BASE_URL: `${gatewayUrl}/v1`, OPENAI_API_KEY: 'any' },
  }),
};
