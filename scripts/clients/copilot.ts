import type { Client } from './client.ts';

function copilot(
  name: string,
  dialect: Client['dialect'],
  path: string,
  more: Record<string, string>,
): Client {
  return {
    name,
    packageName: '@github/copilot',
    dialect,
    isOverWebSocket: more['COPILOT_PROVIDER_TRANSPORT'] === 'websockets',
    turns: 2,
    prompts: (file) => [`call view ${JSON.stringify({ path: file })}`],
    prepare: ({ gatewayUrl, key, model, prompt }) => ({
      command: 'copilot',
      words: ['--allow-all-tools', '--allow-all-paths', '-p', prompt],
      environment: {
        COPILOT_PROVIDER_BASE_URL: gatewayUrl + path,
        COPILOT_PROVIDER_API_KEY: key,
        COPILOT_MODEL: model,
        COPILOT_OFFLINE: 'true',
        ...more,
      },
    }),
  };
}

export const copilots: readonly Client[] = [
  copilot('copilot-chat', 'Chat Completions', '/v1', {}),
  copilot('copilot-responses', 'Responses', '/v1', { COPILOT_PROVIDER_WIRE_API: 'responses' }),
  copilot('copilot-websocket', 'Responses', '/v1', {
    COPILOT_PROVIDER_WIRE_API: 'responses',
    COPILOT_PROVIDER_TRANSPORT: 'websockets',
  }),
  copilot('copilot-messages', 'Messages', '', { COPILOT_PROVIDER_TYPE: 'anthropic' }),
];
