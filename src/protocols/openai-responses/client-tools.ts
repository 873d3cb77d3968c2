import { isJsonObject, type JsonObject } from '../../lib/parse-json.ts';
import type { ClientCall } from './schema.ts';

type Fields = JsonObject;

/** A tool of the dialect that the client runs, with its own type of item for calls. */
interface ClientTool {
  /** What the ids of its items begin with. */
  readonly idPrefix: 'lsh' | 'sh' | 'apc' | 'cu';
  readonly callType: ClientCall['type'];
  readonly description: string;
  readonly parameters: Fields;
  /** The fields of a call's item; undefined where the model's arguments do not make one. */
  fields(args: Fields): Fields | undefined;
}

export type ClientToolKind = 'shell' | 'local_shell' | 'apply_patch' | 'computer' | 'computer_use_preview';

const integer = { type: 'integer' } as const;
const text = { type: 'string' } as const;
const texts = { type: 'array', items: text } as const;

const point = { x: integer, y: integer } as const;
const computerAction = {
  type: 'object',
  description:
    'One action. click: x, y, button. double_click and move: x, y. drag: path. keypress: keys. scroll: x, y, scroll_x, scroll_y. type: text. screenshot and wait: nothing more.',
  properties: {
    type: {
      type: 'string',
      enum: ['click', 'double_click', 'drag', 'keypress', 'move', 'screenshot', 'scroll', 'type', 'wait'],
    },
    ...point,
    button: { type: 'string', enum: ['left', 'right', 'wheel', 'back', 'forward'] },
    path: { type: 'array', items: { type: 'object', properties: point, required: ['x', 'y'] } },
    keys: texts,
    scroll_x: integer,
    scroll_y: integer,
    text,
  },
  required: ['type'],
} as const;

/** Models that know the items write their arguments one level deeper, as those have them. */
function unwrapped(args: Fields, name: 'action' | 'operation'): Fields {
  const inner = args[name];
  return isJsonObject(inner) ? inner : args;
}

/** The schemas are those of the items in the OpenAI API reference. */
export const clientTools: Readonly<Record<ClientToolKind, ClientTool>> = {
  shell: {
    idPrefix: 'sh',
    callType: 'shell_call',
    description: 'Runs shell commands on the computer of the user and returns their output and exit codes.',
    parameters: {
      type: 'object',
      properties: {
        commands: { ...texts, description: 'The commands, each a whole command line.' },
        timeout_ms: { ...integer, description: 'The longest time for all of them, in milliseconds.' },
        max_output_length: { ...integer, description: 'The most characters of output to return.' },
      },
      required: ['commands'],
    },
    fields(args) {
      const { commands, timeout_ms: timeout, max_output_length: length } = unwrapped(args, 'action');
      if (!isTexts(commands)) return undefined;
      return {
        action: { commands, timeout_ms: numberOrNull(timeout), max_output_length: numberOrNull(length) },
        environment: { type: 'local' },
      };
    },
  },
  local_shell: {
    idPrefix: 'lsh',
    callType: 'local_shell_call',
    description: 'Runs a command on the computer of the user and returns its output.',
    parameters: {
      type: 'object',
      properties: {
        command: { ...texts, description: 'The program and its arguments.' },
        env: { type: 'object', additionalProperties: text, description: 'Environment variables to set.' },
        timeout_ms: { ...integer, description: 'The longest time for it, in milliseconds.' },
        user: { ...text, description: 'The user to run it as.' },
        working_directory: { ...text, description: 'The folder to run it in.' },
      },
      required: ['command'],
    },
    fields(args) {
      const { command, env, ...more } = unwrapped(args, 'action');
      const { timeout_ms: timeout, user, working_directory: folder } = more;
      if (!isTexts(command)) return undefined;
      return {
        action: {
          type: 'exec',
          command,
          env: isJsonObject(env) ? env : {},
          // Left out rather than null, which some clients refuse.
          ...(typeof timeout === 'number' ? { timeout_ms: timeout } : {}),
          ...(typeof user === 'string' ? { user } : {}),
          ...(typeof folder === 'string' ? { working_directory: folder } : {}),
        },
      };
    },
  },
  apply_patch: {
    idPrefix: 'apc',
    callType: 'apply_patch_call',
    description: 'Creates, updates or deletes one file in the workspace of the user.',
    parameters: {
      type: 'object',
      properties: {
        type: { type: 'string', enum: ['create_file', 'update_file', 'delete_file'] },
        path: { ...text, description: 'The file, relative to the workspace.' },
        diff: {
          ...text,
          description:
            'A V4A diff of the file, without the lines that begin and end a patch; in a new file every line begins with +. Left out to delete a file.',
        },
      },
      required: ['type', 'path'],
    },
    fields(args) {
      const { type, path, diff } = unwrapped(args, 'operation');
      if (typeof path !== 'string') return undefined;
      if (type === 'delete_file') return { operation: { type, path } };
      // Models leave it out to create an empty file.
      if (type === 'create_file' && diff === undefined) return { operation: { type, path, diff: '' } };
      if (type !== 'create_file' && type !== 'update_file') return undefined;
      return typeof diff === 'string' ? { operation: { type, path, diff } } : undefined;
    },
  },
  computer: {
    idPrefix: 'cu',
    callType: 'computer_call',
    description:
      'Controls the screen, mouse and keyboard of a computer by actions and returns a screenshot of what came of them.',
    parameters: {
      type: 'object',
      properties: { actions: { type: 'array', items: computerAction, minItems: 1 } },
      required: ['actions'],
    },
    fields: ({ actions }) =>
      Array.isArray(actions) && actions.length > 0 && actions.every(isAction)
        ? { actions, pending_safety_checks: [] }
        : undefined,
  },
  computer_use_preview: {
    idPrefix: 'cu',
    callType: 'computer_call',
    description:
      'Controls the screen, mouse and keyboard of a computer by an action and returns a screenshot of what came of it.',
    parameters: computerAction,
    fields(args) {
      const action = unwrapped(args, 'action');
      return isAction(action) ? { action, pending_safety_checks: [] } : undefined;
    },
  },
};

/**
 * The arguments of the function call that an item holds: as the model wrote them, without what its item has to hold
 * beside them, so that a conversation is known again.
 */
export function clientArguments({ type, action, actions, operation }: ClientCall): unknown {
  if (isJsonObject(operation)) return operation;
  if (Array.isArray(actions)) return { actions };
  if (!isJsonObject(action)) return {};
  if (type === 'computer_call') return action;
  const isWritten = ([name, value]: [string, unknown]) =>
    value !== null && name !== 'type' && !(name === 'env' && Object.keys(value as object).length === 0);
  return Object.fromEntries(Object.entries(action).filter(isWritten));
}

/** The kinds of tools that a call's item may be of. */
export function kindsOfCall(type: ClientCall['type']): ClientToolKind[] {
  const kinds = Object.keys(clientTools) as ClientToolKind[];
  return kinds.filter((kind) => clientTools[kind].callType === type);
}

export function isClientToolKind(kind: string): kind is ClientToolKind {
  return Object.hasOwn(clientTools, kind);
}

function isAction(value: unknown): boolean {
  return isJsonObject(value) && typeof value['type'] === 'string';
}

function isTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.length > 0 && value.every((entry) => typeof entry === 'string');
}

function numberOrNull(value: unknown): number | null {
  return typeof value === 'number' ? value : null;
}
