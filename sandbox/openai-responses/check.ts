// What the Responses API refuses although its form is right.
import { signatureOf } from '../vendor/scenarios.ts';
import type { Item, Problem, ResponsesRequest } from './request.ts';

/** What a model thought, sealed for its id. */
export function encryptedFor(id: string): string {
  return `gAAAAA${Buffer.from(id).toString('base64url')}.${signatureOf('openai', id)}`;
}

/** The id that was sealed; undefined where it is no seal of this vendor. */
function sealedId(content: string): string | undefined {
  const [, encoded = ''] = /^gAAAAA([^.]+)\./.exec(content) ?? [];
  const id = Buffer.from(encoded, 'base64url').toString();
  return encoded !== '' && content === encryptedFor(id) ? id : undefined;
}

function refuse(message: string, param: string | null, code: string | null = null, status = 400): Problem {
  return { message, param, code, status };
}

/** A model that always thinks takes no sampling; one that never does, nothing of reasoning; most take both. */
export type ModelKind = 'thinking' | 'plain' | 'both';

/** Why the request is refused; undefined where it is not. `items` is all of its input, with what was stored before it. */
export function problemOf(
  request: ResponsesRequest,
  items: readonly Item[],
  stored: ReadonlySet<string>,
  kind: ModelKind,
): Problem | undefined {
  return (
    partsProblem(items) ??
    reasoningProblem(items, stored) ??
    callsProblem(items) ??
    schemaProblem(request) ??
    paramsProblem(request, kind)
  );
}

function partsProblem(items: readonly Item[]): Problem | undefined {
  for (const [index, item] of items.entries()) {
    if (item.type !== 'message' || typeof item.content === 'string') continue;
    for (const [position, { type }] of item.content.entries()) {
      const isOutput = type === 'output_text' || type === 'refusal';
      if (isOutput === (item.role === 'assistant')) continue;
      const values =
        item.role === 'assistant'
          ? "'output_text' and 'refusal'"
          : "'input_text', 'input_image', and 'input_file'";
      const message = `Invalid value: '${type}'. Supported values are: ${values}.`;
      return refuse(message, `input[${index}].content[${position}]`, 'invalid_value');
    }
  }
  return undefined;
}

function reasoningProblem(items: readonly Item[], stored: ReadonlySet<string>): Problem | undefined {
  const thought = new Set<string>();
  for (const [index, item] of items.entries()) {
    if (item.type === 'item_reference' && !stored.has(item.id)) return notFound(item.id);
    if (item.type === 'function_call') {
      const [, linked] = /^fc_(r\d+)_/.exec(item.id ?? '') ?? [];
      if (linked !== undefined && !thought.has(`rs_${linked}`)) {
        const message = `Item '${item.id}' of type 'function_call' was provided without its required 'reasoning' item: 'rs_${linked}'.`;
        return refuse(message, 'input');
      }
    }
    if (item.type !== 'reasoning') continue;
    const { id, encrypted_content: content } = item;
    if (typeof content === 'string') {
      const sealed = sealedId(content);
      if (sealed === undefined || (id && id !== sealed)) {
        const named = id ? ` for item ${id}` : '';
        const message = `The encrypted content${named} could not be verified. Reason: Encrypted content could not be decrypted or parsed.`;
        return refuse(message, null, 'invalid_encrypted_content');
      }
      thought.add(sealed);
    } else if (id && stored.has(id)) thought.add(id);
    else if (id) return notFound(id);
    const next = items[index + 1];
    const isFollowed =
      next !== undefined &&
      next.type !== 'reasoning' &&
      !(next.type === 'message' && next.role !== 'assistant');
    if (!isFollowed) {
      return refuse(
        `Item '${id}' of type 'reasoning' was provided without its required following item.`,
        'input',
      );
    }
  }
  return undefined;
}

function notFound(id: string): Problem {
  const message = `Item with id '${id}' not found. Items are not persisted when \`store\` is set to false. Try again with \`store\` set to true, or remove this item from your input.`;
  return refuse(message, 'input', null, 404);
}

function callsProblem(items: readonly Item[]): Problem | undefined {
  for (const kind of ['function_call', 'custom_tool_call']) {
    const words = kind.replaceAll('_', ' ');
    const idsOf = (type: string) =>
      items.flatMap((item) => (item.type === type && 'call_id' in item ? [item.call_id] : []));
    const calls = idsOf(kind);
    const outputs = idsOf(`${kind}_output`);
    const missing = calls.find((id) => !outputs.includes(id));
    if (missing !== undefined) return refuse(`No tool output found for ${words} ${missing}.`, 'input');
    const orphan = outputs.find((id) => !calls.includes(id));
    if (orphan !== undefined)
      return refuse(`No tool call found for ${words} output with call_id ${orphan}.`, 'input');
  }
  return undefined;
}

type Schema = Readonly<Record<string, unknown>>;

/** A strict schema says of each object that all its properties are required, and no others there. */
function strictProblem(schema: unknown, context: readonly string[]): string | undefined {
  if (typeof schema !== 'object' || schema === null) return undefined;
  const {
    type,
    properties = {},
    required = [],
    additionalProperties: more,
    items,
    anyOf = [],
  } = schema as Schema & {
    readonly properties?: Schema;
    readonly required?: readonly string[];
    readonly anyOf?: readonly unknown[];
  };
  const at = `In context=(${context.map((step) => `'${step}'`).join(', ')})`;
  if (type === 'object' && more !== false) {
    return `${at}, 'additionalProperties' is required to be supplied and to be false.`;
  }
  const left = Object.keys(properties).find((name) => !required.includes(name));
  if (left !== undefined) {
    return `${at}, 'required' is required to be supplied and to be an array including every key in properties. Missing '${left}'.`;
  }
  const inner: (readonly [unknown, string])[] = [
    ...Object.entries(properties).map(([name, one]) => [one, name] as const),
    ...anyOf.map((one, index) => [one, String(index)] as const),
    [items, 'items'],
  ];
  return inner
    .map(([one, name]) => strictProblem(one, [...context, name]))
    .find((problem) => problem !== undefined);
}

function schemaProblem({ tools, text }: ResponsesRequest): Problem | undefined {
  for (const [index, tool] of (tools ?? []).entries()) {
    if (tool.type !== 'function' || tool.strict !== true) continue;
    const problem = strictProblem(tool.parameters, []);
    if (problem !== undefined) {
      const message = `Invalid schema for function '${tool.name}': ${problem}`;
      return refuse(message, `tools[${index}].parameters`, 'invalid_function_parameters');
    }
  }
  const format = text?.format;
  if (format?.type !== 'json_schema' || format.strict !== true) return undefined;
  const problem = strictProblem(format.schema, []);
  if (problem === undefined) return undefined;
  const message = `Invalid schema for response_format '${format.name}': ${problem}`;
  return refuse(message, 'text.format.schema', 'invalid_json_schema');
}

function paramsProblem(request: ResponsesRequest, kind: ModelKind): Problem | undefined {
  const { input, previous_response_id: previous, prompt, conversation } = request;
  if (input === undefined && !previous && !prompt && !conversation) {
    return refuse("Missing required parameter: 'input'.", 'input', 'missing_required_parameter');
  }
  for (const name of ['temperature', 'top_p', 'top_logprobs'] as const) {
    if (kind === 'thinking' && request[name] !== undefined && request[name] !== null) {
      const message = `Unsupported parameter: '${name}' is not supported with this model.`;
      return refuse(message, name, 'unsupported_parameter');
    }
  }
  if (kind === 'plain' && request.reasoning?.effort) {
    const message = "Unsupported parameter: 'reasoning.effort' is not supported with this model.";
    return refuse(message, 'reasoning.effort', 'unsupported_parameter');
  }
  if (kind === 'plain' && request.include?.includes('reasoning.encrypted_content')) {
    return refuse('Encrypted content is not supported with this model.', 'include');
  }
  const isJson = request.text?.format?.type === 'json_object';
  if (isJson && !/json/i.test(JSON.stringify([input, request.instructions]))) {
    const message =
      "Response input messages must contain the word 'json' in some form to use 'text.format' of type 'json_object'.";
    return refuse(message, 'input');
  }
  const names = (request.tools ?? []).flatMap((tool) => ('name' in tool ? [String(tool.name)] : []));
  const choice = request.tool_choice;
  if (typeof choice === 'object' && choice?.type === 'function' && !names.includes(String(choice['name']))) {
    return refuse(`Tool choice 'function' not found in 'tools' parameter.`, 'tool_choice');
  }
  if (choice === 'required' && names.length === 0) {
    return refuse("Tool choice 'required' must be specified with 'tools' parameter.", 'tool_choice');
  }
  return undefined;
}
