import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Client } from './client.ts';

export const codex: Client = {
  name: 'codex',
  packageName: '@openai/codex',
  dialect: 'Responses',
  turns: 2,
  prompt: (file) => `call exec_command ${JSON.stringify({ cmd: `cat ${file}` })}`,
  prepare({ home, gatewayUrl, key, model, prompt }) {
    const folder = join(home, '.codex');
    mkdirSync(folder, { recursive: true });
    const provider = `[model_providers.gw]\nname = "gw"\nbase_url = "${gatewayUrl}/v1"\nwire_api = "responses"\nenv_key = "GW_KEY"\n`;
    writeFileSync(join(folder, 'config.toml'), `model = "${model}"\nmodel_provider = "gw"\n${provider}`);
    const flags = ['--skip-git-repo-check', '--dangerously-bypass-approvals-and-sandbox'];
    return { command: 'codex', words: ['exec', ...flags, '--', prompt], environment: { GW_KEY: key } };
  },
};
