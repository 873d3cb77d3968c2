import type { Client } from './client.ts';

export const claudeCode: Client = {
  name: 'claude-code',
  packageName: '@anthropic-ai/claude-code',
  dialect: 'Messages',
  turns: 2,
  prompt: (file) => `call Read ${JSON.stringify({ file_path: file })}`,
  prepare: ({ gatewayUrl, key, model, prompt }) => ({
    command: 'claude',
    words: ['-p', prompt, '--allowedTools', 'Read', '--model', model],
    environment: {
      ANTHROPIC_BASE_URL: gatewayUrl,
      ANTHROPIC_API_KEY: key,
      CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1',
    },
  }),
};
