import type { Client } from './client.ts';

function claudeCode(
  client: Pick<Client, 'name' | 'turns' | 'prompts' | 'shows'>,
  tools: readonly string[],
): Client {
  return {
    ...client,
    packageName: '@anthropic-ai/claude-code',
    dialect: 'Messages',
    prepare: ({ gatewayUrl, key, model, prompt, isContinued }) => ({
      command: 'claude',
      words: [
        ...(isContinued ? ['--continue'] : []),
        ...['-p', prompt, '--allowedTools', tools.join(','), '--model', model],
      ],
      environment: {
        ANTHROPIC_BASE_URL: gatewayUrl,
        ANTHROPIC_API_KEY: key,
        CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1',
      },
    }),
  };
}

export const claudeCodes: readonly Client[] = [
  claudeCode(
    {
      name: 'claude-code',
      turns: 2,
      prompts: (file) => [`call Read ${JSON.stringify({ file_path: file })}`],
    },
    ['Read'],
  ),
  // The search is a request with a tool of the provider alone: its model gets an error, and says so.
  claudeCode(
    {
      name: 'claude-code-search',
      turns: 4,
      prompts: () => [
        `call ToolSearch ${JSON.stringify({ query: 'select:WebSearch' })}`,
        `call WebSearch ${JSON.stringify({ query: 'magnolia' })}`,
      ],
      shows: '"web_search_20250305" is run by the provider',
    },
    ['ToolSearch', 'WebSearch'],
  ),
];
