import { refused } from '../../core/errors.ts';
import type { Tool, ToolChoice } from '../../core/turn.ts';
import { ContentNotes } from '../shared/read-messages.ts';
import {
  checkLeftOut,
  demandedLeftOut,
  type LeftOutTool,
  messagesTools,
  namedTool,
  type OfferedTools,
  requiredTool,
  screenText,
  toolKind,
  toolOf,
} from '../shared/tools.ts';
import { type AskedTool, type CountRequest, tool, toolChange } from './schema.ts';

type TypedTool = Extract<AskedTool, { type: string }>;

const withoutTools: OfferedTools = { tools: [], toolChoice: { type: 'auto' }, leftOut: [] };

/** Throws AppError `invalid_request` for tools and choices that cannot be carried. */
export function offeredTools({ tools: asked, tool_choice: choice, messages }: CountRequest): OfferedTools {
  if (!asked && !choice && !messages.some((message) => listIn(message))) return withoutTools;
  const known = new Map<string, Tool>();
  const offered = new Set<string>();
  const leftOut: (LeftOutTool & { readonly name: unknown })[] = [];
  const add = (tool: AskedTool, path: string): void => {
    const made = isTyped(tool)
      ? typedTool(tool, path)
      : toolOf(tool.name, tool.description, tool.input_schema, tool);
    if (made) {
      known.set(made.name, made);
      offered.add(made.name);
    } else if (isTyped(tool)) {
      const isUnknown = toolKind(messagesTools, tool.type) === undefined;
      leftOut.push({ type: tool.type, path: `${path}.type`, isUnknown, name: tool['name'] });
    }
  };
  for (const [index, tool] of (asked ?? []).entries()) add(tool, `tools.${index}`);
  const asksFor = [...leftOut];
  for (const change of toolChanges(messages)) {
    if (change.kind === 'definition') add(change.definition, change.path);
    else if (change.kind === 'removal') offered.delete(change.name);
    else if (known.has(change.name)) offered.add(change.name);
  }
  const tools = [...known.values()].filter(({ name }) => offered.has(name));
  checkLeftOut(asksFor, tools.length, choice?.type === 'none');
  if (choice?.type === 'tool') {
    const left = leftOut.find(({ name }) => name === choice.name);
    if (left) throw demandedLeftOut(left, 'tool_choice.name');
  }
  return { tools, toolChoice: toolChoiceOf(choice, tools), leftOut };
}

function toolChoiceOf(choice: CountRequest['tool_choice'], tools: readonly Tool[]): ToolChoice {
  switch (choice?.type) {
    case 'any':
      return requiredTool(tools, 'any');
    case 'tool':
      return namedTool(tools, choice.name);
    case 'none':
      return { type: 'none' };
    default:
      return { type: 'auto' };
  }
}

/** Undefined for a tool that the provider would run. */
function typedTool(tool: TypedTool, path: string): Tool | undefined {
  const kind = toolKind(messagesTools, tool.type);
  const row = kind && messagesTools[kind];
  if (row && 'isRefused' in row) throw refused(`${path}.type`, `${JSON.stringify(tool.type)} ${row.says}`);
  const made = kind && clientTools[kind]?.(tool);
  return made && { ...made, name: typeof tool.name === 'string' ? tool.name : made.name };
}

function isTyped(tool: AskedTool): tool is TypedTool {
  return typeof tool.type === 'string' && tool.type !== 'custom';
}

/** A tool of the dialect that the client runs: clients send its type alone, and models of the provider know the rest. */
interface ClientTool {
  readonly name: string;
  readonly description: string;
  readonly parameters: Readonly<Record<string, unknown>>;
}

const text = { type: 'string' } as const;
const integer = { type: 'integer' } as const;
const point = { type: 'array', items: integer, minItems: 2, maxItems: 2 } as const;

/** By kind. The schemas are those of Anthropic's documentation, "Tool reference". */
const clientTools: Readonly<Record<string, (tool: TypedTool) => ClientTool>> = {
  bash: () => ({
    name: 'bash',
    description: 'Runs commands in a bash session that lasts for the whole conversation.',
    parameters: {
      type: 'object',
      properties: {
        command: { ...text, description: 'The command to run. Needed unless the session is restarted.' },
        restart: { type: 'boolean', description: 'True starts the session again.' },
      },
    },
  }),
  text_editor: ({ type }) => textEditor(/_(20241022|20250124)$/.test(type)),
  memory: () => ({
    name: 'memory',
    description: 'Views and edits files below /memories, which outlast this conversation.',
    parameters: {
      type: 'object',
      properties: {
        command: {
          type: 'string',
          enum: ['view', 'create', 'str_replace', 'insert', 'delete', 'rename'],
          description:
            'view: path, view_range. create: path, file_text. str_replace: path, old_str, new_str. insert: path, insert_line, insert_text. delete: path. rename: old_path, new_path.',
        },
        path: text,
        view_range: point,
        file_text: text,
        old_str: text,
        new_str: text,
        insert_line: integer,
        insert_text: text,
        old_path: text,
        new_path: text,
      },
      required: ['command'],
    },
  }),
  computer,
};

/** Its first versions had another name, could undo, and called inserted text `new_str`. */
function textEditor(isFormer: boolean): ClientTool {
  const commands = ['view', 'create', 'str_replace', 'insert'];
  const inserted = isFormer ? 'new_str' : 'insert_text';
  return {
    name: isFormer ? 'str_replace_editor' : 'str_replace_based_edit_tool',
    description: 'Views, creates and edits text files.',
    parameters: {
      type: 'object',
      properties: {
        command: {
          type: 'string',
          enum: isFormer ? [...commands, 'undo_edit'] : commands,
          description: `view: path, view_range. create: path, file_text. str_replace: path, old_str, new_str. insert: path, insert_line, ${inserted}.`,
        },
        path: { ...text, description: 'The file or folder.' },
        view_range: { ...point, description: 'The first and the last line to view; -1 is the end.' },
        file_text: text,
        old_str: { ...text, description: 'Text that occurs in the file exactly once.' },
        new_str: text,
        insert_line: { ...integer, description: 'The line after which to insert; 0 is the beginning.' },
        ...(isFormer ? {} : { insert_text: text }),
      },
      required: ['command', 'path'],
    },
  };
}

function computer({
  type,
  display_width_px: width,
  display_height_px: height,
  enable_zoom: zoom,
}: TypedTool) {
  const isFirst = type.endsWith('_20241022');
  const actions = [
    ...['key', 'type', 'mouse_move', 'left_click', 'left_click_drag', 'right_click', 'middle_click'],
    ...['double_click', 'screenshot', 'cursor_position'],
    ...(isFirst ? [] : ['left_mouse_down', 'left_mouse_up', 'triple_click', 'scroll', 'hold_key', 'wait']),
    ...(zoom === true ? ['zoom'] : []),
  ];
  const later = {
    start_coordinate: { ...point, description: 'Where a drag begins.' },
    scroll_direction: { type: 'string', enum: ['up', 'down', 'left', 'right'] },
    scroll_amount: { ...integer, description: 'Clicks of the wheel.' },
    duration: { type: 'number', description: 'Seconds to wait or to hold a key.' },
  };
  const region = { type: 'array', items: integer, minItems: 4, maxItems: 4, description: 'x1, y1, x2, y2.' };
  return {
    name: 'computer',
    description: `Controls the screen, mouse and keyboard of a computer and takes screenshots of it.${screenText(width, height)}`,
    parameters: {
      type: 'object',
      properties: {
        action: { type: 'string', enum: actions },
        coordinate: { ...point, description: 'x and y, in pixels from the upper left corner.' },
        text: { ...text, description: 'The text to type, or the key or keys to press.' },
        ...(isFirst ? {} : later),
        ...(zoom === true ? { region } : {}),
      },
      required: ['action'],
    },
  };
}

/** A tool that comes or goes in mid-conversation. */
type ToolChange =
  | { readonly kind: 'definition'; readonly definition: AskedTool; readonly path: string }
  | { readonly kind: 'addition' | 'removal'; readonly name: string };

/** The changes that system messages hold, in their order. Throws AppError `invalid_request` for an invalid definition. */
function toolChanges(messages: readonly unknown[]): ToolChange[] {
  return messages.flatMap((message, index) =>
    (listIn(message) ?? []).flatMap((block, position) =>
      changeOf(block, `messages.${index}.content.${position}`),
    ),
  );
}

/** The blocks of a system message. */
function listIn(message: unknown): readonly unknown[] | undefined {
  const { role, content } = (message ?? {}) as { readonly role?: unknown; readonly content?: unknown };
  return role === 'system' && Array.isArray(content) ? content : undefined;
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
