import { ContentNotes } from '../content-notes.ts';
import { type AskedTool, tool, toolChange } from './schema.ts';

/** A tool that comes or goes in mid-conversation. */
export type ToolChange =
  | { readonly kind: 'definition'; readonly definition: AskedTool; readonly path: string }
  | { readonly kind: 'addition' | 'removal'; readonly name: string };

/** The changes that system messages hold, in their order. Throws AppError `invalid_request` for an invalid definition. */
export function toolChanges(messages: readonly unknown[]): ToolChange[] {
  return messages.flatMap((message, index) => {
    const { role, content } = (message ?? {}) as { readonly role?: unknown; readonly content?: unknown };
    if (role !== 'system' || !Array.isArray(content)) return [];
    return content.flatMap((block, position) => changeOf(block, `messages.${index}.content.${position}`));
  });
}

function changeOf(block: unknown, path: string): ToolChange[] {
  const change = toolChange.safeParse(block).data;
  if (change === undefined) return [];
  const { type, tool: named } = change;
  if (type === 'tool_addition' && named.type === 'tool_definition') {
    const place = { path: `${path}.tool.definition`, isJustSent: true };
    const definition = new ContentNotes().read(tool, named['definition'], place);
    return definition ? [{ kind: 'definition', definition, path: place.path }] : [];
  }
  if (named.type !== 'tool_reference' || !named.name) return [];
  return [{ kind: type === 'tool_addition' ? 'addition' : 'removal', name: named.name }];
}
