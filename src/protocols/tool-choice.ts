import type { Tool, ToolChoice } from '../core/turn.ts';
import { quoted, refused } from './refused.ts';

/** Any of the tools must be called; `word` is the dialect's own for it. Throws AppError `invalid_request`. */
export function requiredTool(tools: readonly Tool[], word: string): ToolChoice {
  if (tools.length === 0) throw refused('tool_choice', `is "${word}" but tools is empty`);
  return { type: 'required' };
}

/** That tool must be called. Throws AppError `invalid_request`. */
export function namedTool(tools: readonly Tool[], name: string): ToolChoice {
  mustOffer(tools, name, 'tool_choice');
  return { type: 'tool', name };
}

/** Throws AppError `invalid_request` for a name that no tool has. */
export function mustOffer(tools: readonly Tool[], name: string, param: string): void {
  if (tools.some((tool) => tool.name === name)) return;
  throw refused(param, `names the tool ${quoted(name)}, which tools does not offer`);
}
