import type { AnyImage, AskedMessage, ReasoningPart, TextPart, ToolResultPart } from '../../core/turn.ts';
import { MadeCalls } from '../shared/calls.ts';
import { fileElsewhere, imageFromUrl, partOfFile } from '../shared/files.ts';
import {
  type AssistantPart,
  type ContentNotes,
  type InputPart,
  type Place,
  readContent,
  readEntries,
  resultContent,
  toolResult,
  type Unshown,
  within,
} from '../shared/read-messages.ts';
import { quoted, refused } from '../shared/request.ts';
import { callOfItem } from './call-item.ts';
import { readCompaction } from './compaction.ts';
import { bringsTools, type OfferedTools, offeredTools } from './offered-tools.ts';
import type { Opaque } from './response.ts';
import {
  type AgentMessage,
  type AskedTool,
  type ClientOutput,
  type CompactionItem,
  type InputFile,
  type InputImage,
  type InputItem,
  inputItem,
  isItemReference,
  isKind,
  itemSchemaOf,
  part,
  type RawItem,
  type ReadItem,
} from './schema.ts';
import { readCarried } from './sealed-reasoning.ts';

interface DecodedItems {
  readonly messages: AskedMessage[];
  /** Kinds of items that say nothing to this gateway. */
  readonly ignored: readonly string[];
}

/**
 * Items as neutral messages. What one answer was made of, its reasoning, text and calls, are items of their own in this
 * dialect and one message again here; results that follow one another are one message, too.
 */
export function decodeItems(
  items: readonly ReadItem[],
  notes: ContentNotes,
  tools: OfferedTools,
  opaque: Opaque | undefined,
): DecodedItems {
  const messages: AskedMessage[] = [];
  const calls = new MadeCalls();
  /** Of calls, by the ids of their items. */
  const callIds = new Map<string, string>();
  const last = () => messages[messages.length - 1];
  /** Of the last message, while it is one of the assistant, or one of results. */
  let answer: AssistantPart[] = [];
  let results: ToolResultPart<AnyImage>[] = [];
  const addAssistant = (parts: readonly AssistantPart[]): void => {
    if (last()?.role !== 'assistant') {
      answer = [];
      messages.push({ role: 'assistant', parts: answer });
    }
    for (const part of parts) answer.push(part);
  };
  const addResult = (part: ToolResultPart<AnyImage>, { path }: Place, isNew: boolean): void => {
    const advice = 'send the call too, or name the response that holds it';
    const callId = calls.answered(part.callId, { param: `${path}.call_id`, isNew, advice });
    if (last()?.role !== 'tool') {
      results = [];
      messages.push({ role: 'tool', parts: results });
    }
    results.push({ ...part, callId });
  };

  /** What messages of the system say, of the first `countedRules` messages. */
  const rules = new Set<string>();
  let countedRules = 0;
  const addRules = ({ role, parts }: AskedMessage): void => {
    if (role === 'system') for (const { text } of parts) rules.add(text);
  };

  /** The last item that is not read here; `count` messages came before it. */
  let unread: { readonly place: Place; readonly type: string; readonly count: number } | undefined;
  for (const { value: item, note, place, role: speaker, isNew } of items) {
    if (item === undefined) {
      // A note would not help the model in place of a call.
      if (note && speaker !== 'assistant') messages.push({ role: 'user', parts: [note] });
      continue;
    }
    if (isMessage(item)) {
      const { role, content } = item;
      const at = within(place, 'content');
      if (role === 'user') messages.push({ role, parts: inputParts(notes, content, at) });
      else if (role === 'assistant')
        addAssistant(onlyTexts(notes, content ?? null, at).filter(({ text }) => text !== ''));
      else messages.push({ role: 'system', parts: onlyTexts(notes, content, at) });
      continue;
    }
    const call = callOfItem(item, tools);
    if (call) {
      const id = calls.add(call.id, call.name);
      if (typeof item['id'] === 'string') callIds.set(item['id'], id);
      addAssistant([{ type: 'tool-call', ...call, id }]);
    } else if (isKind(item, 'function_call_output') || isKind(item, 'custom_tool_call_output')) {
      const at: Place = { path: `${place.path}.output`, isJustSent: false };
      const parts = inputParts(notes, resultContent(item.output), at);
      addResult(toolResult(item.call_id ?? '', parts), place, isNew);
    } else if (isKind(item, 'computer_call_output')) {
      const at: Place = { path: `${place.path}.output`, isJustSent: false };
      const image = notes.shown(imageOf(item.output ?? {}, at), at, item.type);
      addResult(toolResult(item.call_id ?? '', [image]), place, isNew);
    } else if (bringsTools(item)) {
      if (isKind(item, 'tool_search_output') && item.call_id) {
        addResult(toolResult(item.call_id, [{ type: 'text', text: foundText(item.tools) }]), place, isNew);
      }
    } else if (isClientOutput(item)) {
      // Outputs of the local shell name their call by its own id or by that of its item.
      const callId = item.call_id ?? callIds.get(item.id ?? '') ?? item.id ?? '';
      addResult(clientResult(item, callId), place, isNew);
    } else if (isKind(item, 'reasoning')) {
      const reasoning = reasoningIn(item, opaque);
      if (reasoning.text !== '') addAssistant([{ type: 'reasoning', ...reasoning }]);
    } else if (isCompaction(item)) {
      for (const message of messages.slice(countedRules)) addRules(message);
      for (const message of readCompaction(item, opaque, notes, place, rules)) {
        messages.push(message);
        addRules(message);
      }
      countedRules = messages.length;
    } else if (isItemReference(item)) {
      messages.push({ role: 'user', parts: [notes.replace(lostItem, place, 'item_reference')] });
    } else if (isKind(item, 'agent_message')) {
      messages.push({ role: 'user', parts: [agentText(item, notes, place)] });
    } else if (item.type !== 'configuration_update' && item.type !== 'compaction_trigger') {
      notes.ignore(`input.${item.type}`);
      unread = { place, type: item.type, count: messages.length };
    }
  }
  if (unread?.count === messages.length && (last()?.role ?? 'assistant') === 'assistant') {
    throw refused(
      `${unread.place.path}.type`,
      `${quoted(unread.type)} says nothing to this upstream, and there is no other new input: send a message or an output`,
    );
  }
  return { messages, ignored: notes.ignored };
}

const lostItem: Unshown = {
  what: 'an item of an earlier response',
  why: 'is not kept here',
  advice: 'send the item itself',
};

function reasoningIn(
  item: Extract<InputItem, { type: 'reasoning' }>,
  opaque: Opaque | undefined,
): Omit<ReasoningPart, 'type'> {
  const text = [...(item.content ?? []), ...(item.summary ?? [])].map((part) => part.text).join('\n\n');
  // What another provider sealed is no text here.
  const carried = readCarried((item.encrypted_content && opaque?.open(item.encrypted_content)) || '');
  return { ...carried, text: text || carried.text };
}

/** A shell's or a patch's outcome has a shape of its own; a model reads it as it is. */
function clientResult({ output, status }: ClientOutput, callId: string): ToolResultPart {
  const said = output ?? status ?? '';
  const text = typeof said === 'string' ? said : JSON.stringify(said);
  return { type: 'tool-result', callId, text, isError: status === 'failed' };
}

/**
 * A message between agents of Codex. Its payload is named encrypted, but was written by a model here: it is plain
 * unless it has the form of one that was sealed elsewhere.
 */
function agentText({ content }: AgentMessage, notes: ContentNotes, place: Place): TextPart {
  const texts = content.map(({ text, encrypted_content: payload }) => {
    if (payload && /^gAAAA[\w-]{60,}=*$/.test(payload)) {
      return notes.replace(sealedPayload, { ...place, isJustSent: false }, 'agent_message').text;
    }
    return payload ?? text ?? '';
  });
  return { type: 'text', text: texts.join('') };
}

const sealedPayload: Unshown = {
  what: 'the message of another agent',
  why: 'was sealed by its provider',
  advice: 'begin a new conversation',
};

/** What a search found, by the names the upstream knows the tools under. */
function foundText(found: readonly AskedTool[]): string {
  const { offered } = offeredTools(found);
  if (offered.length === 0) return 'No tools were found.';
  const lines = offered.map(({ name, description }) => `- ${name}${description ? `: ${description}` : ''}`);
  return ['These tools were found and can be called now:', ...lines].join('\n');
}

function inputParts(notes: ContentNotes, content: unknown, place: Place): InputPart[] {
  return readContent<typeof part, InputPart>(notes, content, part, place, (known, at) => {
    if (known.type === 'input_image') return [notes.shown(imageOf(known, at), at, known.type)];
    if (known.type === 'input_file') return [notes.shown(fileOf(known, at), at, known.type)];
    return [{ type: 'text', text: known.type === 'refusal' ? known.refusal : known.text }];
  });
}

/** Of messages that hold text alone. */
function onlyTexts(notes: ContentNotes, content: unknown, place: Place): TextPart[] {
  return inputParts(notes, content, place).map((known) =>
    known.type === 'text' ? known : notes.replace(misplacedImage, place, 'input_image'),
  );
}

const misplacedImage: Unshown = {
  what: 'an image',
  why: 'is in a message that is neither of the user nor of a tool',
  advice: 'send it in a message of the user',
};

function fileOf({ file_data: data, filename }: InputFile, { path }: Place): TextPart | AnyImage | Unshown {
  return data ? partOfFile(data, filename, `${path}.file_data`) : fileElsewhere(filename);
}

function imageOf({ image_url: image }: InputImage, { path }: Place): AnyImage | Unshown {
  const url = typeof image === 'string' ? image : image?.url;
  if (url) return imageFromUrl(url, `${path}.image_url`, 'image_url');
  const advice = 'send it as a data URL or by its address';
  return { what: 'an image', why: 'is not in the request', advice, field: 'image_url' };
}

function isMessage(item: InputItem): item is Extract<InputItem, { role: string }> {
  return (item.type === undefined || item.type === 'message') && 'role' in item;
}

function isClientOutput(item: InputItem): item is ClientOutput {
  return /^(local_shell|shell|apply_patch)_call_output$/.test(item.type ?? '');
}

function isCompaction(item: InputItem): item is CompactionItem {
  return item.type === 'compaction' || item.type === 'compaction_summary';
}

/** Most of them are the same again and again, but each has to be read. */
const mostTools = 50_000;

/**
 * `offset` items are those of earlier responses: paths count from there. Throws AppError `invalid_request` naming what the
 * user has just sent and cannot be read.
 */
export function readItems(items: readonly RawItem[], offset: number, notes: ContentNotes): ReadItem[] {
  let tools = 0;
  for (const [index, item] of items.entries()) {
    if (Array.isArray(item['tools'])) tools += item['tools'].length;
    if (tools > mostTools) {
      const reason = `brings too many tools: all items together may bring ${mostTools}`;
      throw refused(`input.${index - offset}.tools`, reason);
    }
  }
  const placeAt = (index: number, isJustSent: boolean): Place => ({
    path: `input.${index - offset}`,
    // What is stored was accepted before. Tools are offered by the request, wherever they stand.
    isJustSent: index >= offset && (isJustSent || items[index]?.['type'] === 'additional_tools'),
  });
  return readEntries(items, inputItem, items.map(roleOf), notes, placeAt, (item) =>
    itemSchemaOf(item as RawItem),
  );
}

function roleOf({ type, role }: RawItem): string | undefined {
  if (type === undefined || type === null || type === 'message') {
    // Results are separate items in this dialect, so an unknown role does not show where a message comes from.
    return typeof role === 'string' && /^(system|developer|user|assistant)$/.test(role) ? role : undefined;
  }
  if (typeof type !== 'string') return undefined;
  if (/^(additional_tools|configuration_update|compaction_trigger)$/.test(type)) return 'system';
  if (type === 'agent_message') return 'user';
  if (type.endsWith('_output')) return 'tool';
  return type === 'reasoning' || type.endsWith('_call') ? 'assistant' : undefined;
}
