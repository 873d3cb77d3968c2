import { refused } from '../../core/errors.ts';
import type { Tool, ToolChoice } from '../../core/turn.ts';
import { quoted } from '../shared/request.ts';
import { checkLeftOut, geminiTools, type LeftOutTool, mustOffer, toolKind, toolOf } from '../shared/tools.ts';
import { jsonSchemaOf } from './openapi-schema.ts';
import type { FunctionDeclaration, GenerateRequest } from './schema.ts';

export interface OfferedTools {
  readonly tools: readonly Tool[];
  readonly toolChoice: ToolChoice;
  readonly leftOut: readonly LeftOutTool[];
}

/** Throws AppError `invalid_request` for tools and choices that cannot be carried. */
export function offeredTools({
  tools: asked,
  toolConfig,
}: Pick<GenerateRequest, 'tools' | 'toolConfig'>): OfferedTools {
  const tools: Tool[] = [];
  const leftOut: LeftOutTool[] = [];
  for (const [index, { functionDeclarations, ...others }] of (asked ?? []).entries()) {
    for (const declaration of functionDeclarations ?? []) tools.push(functionOf(declaration));
    for (const [type, value] of Object.entries(others)) {
      if (value === null || value === undefined) continue;
      const path = `tools.${index}.${type}`;
      const kind = toolKind(geminiTools, type);
      const row = kind && geminiTools[kind];
      if (row && 'isRefused' in row) throw refused(path, row.says);
      leftOut.push({ type, path, isUnknown: row === undefined });
    }
  }
  const { mode, allowedFunctionNames } = toolConfig?.functionCallingConfig ?? {};
  checkLeftOut(leftOut, tools.length, mode === 'NONE');
  return { ...chosenOf(mode, allowedFunctionNames ?? [], tools), leftOut };
}

function functionOf({ name, description, parameters, parametersJsonSchema }: FunctionDeclaration): Tool {
  return toolOf(name, description, parametersJsonSchema ?? (parameters && jsonSchemaOf(parameters)));
}

const config = 'toolConfig.functionCallingConfig';

function chosenOf(
  mode: string | null | undefined,
  allowed: readonly string[],
  tools: readonly Tool[],
): Pick<OfferedTools, 'tools' | 'toolChoice'> {
  if (mode === 'NONE') return { tools, toolChoice: { type: 'none' } };
  const names = new Set(allowed);
  for (const name of names) mustOffer(tools, name, `${config}.allowedFunctionNames`);
  const offered = names.size === 0 ? tools : tools.filter(({ name }) => names.has(name));
  if (mode !== 'ANY') return { tools: offered, toolChoice: { type: 'auto' } };
  const [only] = names;
  if (names.size === 1 && only !== undefined) return { tools, toolChoice: { type: 'tool', name: only } };
  if (tools.length === 0) throw refused(`${config}.mode`, `is ${quoted(mode)} but tools has no function`);
  return { tools: offered, toolChoice: { type: 'required' } };
}
