import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Client } from './client.ts';

function codex(name: string, more: string): Client {
  return {
    name,
    packageName: '@openai/codex',
    dialect: 'Responses',
    isOverWebSocket: more !== '',
    turns: 2,
    prompt: (file) => `call exec_command ${JSON.stringify({ cmd: `cat ${file}` })}`,
    prepare({ home, gatewayUrl, key, model, prompt }) {
      const folder = join(home, '.codex');
      mkdirSync(folder, { recursive: true });
      const provider = `[model_providers.gw]\nname = "gw"\nbase_url = "${gatewayUrl}/v1"\nwire_api = "responses"\nenv_key = "GW_KEY"\n`;
      writeFileSync(
        join(folder, 'config.toml'),
        `model = "${model}"\nmodel_provider = "gw"\n${provider}${more}`,
      );
      const flags = ['--skip-git-repo-check', '--dangerously-bypass-approvals-and-sandbox'];
      return { command: 'codex', words: ['exec', ...flags, '--', prompt], environment: { GW_KEY: key } };
    },
  };
}

export const codexes: readonly Client[] = [
  codex('codex', ''),
  codex('codex-websocket', 'supports_websockets = true\n'),
];
