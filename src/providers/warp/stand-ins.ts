/** Names that tools have built in and no Warp account lists. They mean "a good model of yours", so they get the provider's own choice. */
export const standIns: Readonly<Record<string, string>> = {
  'claude-*': 'auto',
  'gpt-*': 'auto',
  'chatgpt-*': 'auto',
  'codex-*': 'auto',
  'o1*': 'auto',
  'o3*': 'auto',
  'o4*': 'auto',
  'gemini-*': 'auto',
  'grok-*': 'auto',
  'deepseek-*': 'auto',
  'qwen*': 'auto',
  'kimi-*': 'auto',
  'glm-*': 'auto',
};
