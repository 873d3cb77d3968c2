import { refused } from '../../core/errors.ts';
import type { DecodedTurn } from '../../core/protocol.ts';
import type { AskedRequest, Message } from '../../core/turn.ts';
import { withAllResults } from '../shared/calls.ts';
import { createFieldCheck } from '../shared/field-table.ts';
import { ContentNotes } from '../shared/read-messages.ts';
import {
  affinityKey,
  allWishes,
  askedReasoning,
  jsonFormat,
  limitsOf,
  parseBody,
  samplingOf,
} from '../shared/request.ts';
import { checkLeftOut, leftOutNames } from '../shared/tools.ts';
import { resentCall } from './call-item.ts';
import { compactionTurn, rulesOf } from './compaction.ts';
import { decodeItems, readItems } from './decode-message.ts';
import { responsesFields } from './fields.ts';
import { allowedTools, decodeToolChoice, offeredTools } from './offered-tools.ts';
import type { Opaque, ResponsesOptions } from './response.ts';
import {
  type InputItem,
  type RawItem,
  type ReadItem,
  type ResponsesRequest,
  responsesRequest,
} from './schema.ts';

/** What a request is read against. */
export interface ResponsesContext {
  /** The items of the responses before, oldest first. */
  readonly history?: readonly RawItem[];
  /** The input, where it is not as the body has it: with its references resolved. */
  readonly input?: readonly RawItem[];
  readonly opaque?: Opaque;
  /** The response that the conversation began with; it names the conversation. */
  readonly firstResponseId?: string | undefined;
}

const checkFields = createFieldCheck(responsesFields);

/** The body alone, to see which earlier response it continues. Throws AppError `invalid_request`. */
export function parseResponsesRequest(body: unknown): ResponsesRequest {
  const asked = parseBody(responsesRequest, body, '"model" and "input"');
  checkFields(body as object);
  return asked;
}

/** The input as items. */
export function inputItems({ input }: Pick<ResponsesRequest, 'input'>): readonly RawItem[] {
  return typeof input === 'string' ? [{ type: 'message', role: 'user', content: input }] : input;
}

export function decodeResponsesRequest(
  asked: ResponsesRequest,
  { history = [], input = inputItems(asked), opaque, firstResponseId }: ResponsesContext = {},
): DecodedTurn<ResponsesOptions> {
  const fields = checkFields(asked);
  const notes = new ContentNotes();
  const all = readItems([...history, ...input], history.length, notes);
  const tools = offeredTools(asked.tools ?? [], all);
  // What earlier items offered was judged then.
  const newItems = all.slice(history.length).filter(({ isNew }) => isNew);
  const newPlaces = new Set(['tools', ...newItems.map(({ place }) => `${place.path}.tools`)]);
  const asksFor = tools.leftOut.filter(({ path }) => newPlaces.has(listOf(path)));
  checkLeftOut(asksFor, tools.offered.length, asked.tool_choice === 'none');
  const toolChoice = decodeToolChoice(asked.tool_choice ?? 'auto', tools);
  const messages = decodeItems(all, notes, tools, opaque);
  const allowed = allowedTools(asked.tool_choice, tools);
  const instructions: Message[] = asked.instructions
    ? [{ role: 'system', parts: [{ type: 'text', text: asked.instructions }] }]
    : [];
  const { effort, format } = configurationOf(asked, all);
  const request: AskedRequest = {
    model: asked.model,
    messages: [...instructions, ...withAllResults(messages)],
    messagesParam: 'input',
    tools: allowed,
    toolChoice,
    parallelToolCalls: asked.parallel_tool_calls ?? true,
    // The dialect has no seed: one that comes anyway is an unknown field, which nothing has checked.
    sampling: samplingOf({ ...asked, seed: undefined }),
    limits: limitsOf(asked.max_output_tokens),
    responseFormat: jsonFormat(format, 'text.format'),
    reasoning: askedReasoning(effort, Boolean(effort ?? asked.reasoning?.summary)),
    ...allWishes(fields.wishes, notes.wishes),
    resentCall: (call) => resentCall(call, tools),
  };
  const decoded: DecodedTurn<ResponsesOptions> = {
    request,
    isStream: asked.stream ?? false,
    options: {
      includeUsage: true,
      asked,
      tools,
      input,
      ...(opaque && asked.include?.includes('reasoning.encrypted_content') ? { seal: opaque.seal } : {}),
    },
    ignored: [...leftOutNames(tools.leftOut), ...notes.ignored, ...fields.ignored],
    ...affinityKey(asked.prompt_cache_key ?? firstResponseId ?? asked.previous_response_id),
  };
  if (opaque === undefined || input.at(-1)?.['type'] !== 'compaction_trigger') return decoded;
  if (messages.length === 0) throw refused('input', 'there is nothing to compact: send the conversation');
  const compaction = { rules: rulesOf(messages), opaque };
  const { isStream, options } = decoded;
  return { ...compactionTurn(decoded), isStream, options: { ...options, compaction } };
}

/** The list that holds a tool: `tools`, or that of an item. */
function listOf(path: string): string {
  return path.slice(0, path.indexOf('tools') + 'tools'.length);
}

/** Clients change these in mid-conversation by an item, so that the request stays as it was for caches. */
function configurationOf({ reasoning, text }: ResponsesRequest, items: readonly ReadItem[]) {
  const updates = items
    .flatMap(({ value }) => (value && isConfigurationUpdate(value) ? [value] : []))
    .reverse();
  return {
    effort: updates.find((update) => update.reasoning?.effort)?.reasoning?.effort ?? reasoning?.effort,
    format: updates.find((update) => update.text?.format)?.text?.format ?? text?.format,
  };
}

function isConfigurationUpdate(
  item: InputItem,
): item is Extract<InputItem, { type: 'configuration_update' }> {
  return item.type === 'configuration_update';
}
