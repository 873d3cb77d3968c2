/**
 * Names that tools have built in and no Warp account lists. They mean "a good model of yours", so they go to the
 * provider's own choice. The configuration file's aliases come first.
 */
export const defaultAliases: Readonly<Record<string, string>> = {
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

/** The target of the first alias that fits: an exact name before patterns, patterns in the order they were written. */
export function findAlias(aliases: Readonly<Record<string, string>>, model: string): string | undefined {
  if (Object.hasOwn(aliases, model)) return aliases[model];
  for (const [pattern, target] of Object.entries(aliases)) {
    if (pattern.endsWith('*') && model.startsWith(pattern.slice(0, -1))) return target;
  }
  return undefined;
}
