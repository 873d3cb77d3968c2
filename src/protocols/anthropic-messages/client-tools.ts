import { screenText } from '../screen-text.ts';

/** A tool of the dialect that the client runs: clients send its type alone, and models of the provider know the rest. */
export interface ClientTool {
  readonly name: string;
  readonly description: string;
  readonly parameters: Readonly<Record<string, unknown>>;
}

type AskedTool = Readonly<Record<string, unknown>> & { readonly type: string };

const text = { type: 'string' } as const;
const integer = { type: 'integer' } as const;
const point = { type: 'array', items: integer, minItems: 2, maxItems: 2 } as const;

/** By kind. The schemas are those of Anthropic's documentation, "Tool reference". */
export const clientTools: Readonly<Record<string, (tool: AskedTool) => ClientTool>> = {
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
}: AskedTool) {
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
