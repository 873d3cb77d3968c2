import type { z } from 'zod';
import { refused } from '../../core/errors.ts';
import type {
  AnyImage,
  AskedMessage,
  AssistantPart,
  ReasoningPart,
  RefusalPart,
  TextPart,
  ToolResultPart,
} from '../../core/turn.ts';
import { MadeCalls } from '../shared/calls.ts';
import { filePart, imageFromUrl } from '../shared/files.ts';
import {
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
import { quoted } from '../shared/request.ts';
import { callOfItem } from './call-item.ts';
import { readCompaction } from './compaction.ts';
import { bringsTools, type OfferedTools, offeredTools } from './offered-tools.ts';
import { proofOf, readCarried } from './reasoning-items.ts';
import type { Opaque } from './response.ts';
import {
  type AgentMessage,
  type AskedTool,
  type ClientOutput,
  type CompactionItem,
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

/**
 * Items as neutral messages. What one answer was made of, its reasoning, text and calls, are items of their own in this
 * dialect and one message again here; results that follow one another are one message, too.
 */
export function decodeItems(
  items: readonly ReadItem[],
  notes: ContentNotes,
  tools: OfferedTools,
  opaque: Opaque | undefined,
): AskedMessage[] {
  const decoder = new ItemDecoder(notes, tools, opaque);
  for (const item of items) decoder.add(item);
  return decoder.end();
}

class ItemDecoder {
  readonly #notes: ContentNotes;
  readonly #tools: OfferedTools;
  readonly #opaque: Opaque | undefined;
  readonly #messages: AskedMessage[] = [];
  readonly #calls = new MadeCalls();
  /** Of calls, by the ids of their items. */
  readonly #callIds = new Map<string, string>();
  /** Of the last message, while it is one of the assistant, or one of results. */
  #answer: AssistantPart[] = [];
  #results: ToolResultPart<AnyImage>[] = [];
  /** What messages of the system say, of the first `countedRules` messages. */
  readonly #rules = new Set<string>();
  #countedRules = 0;
  /** The last item that is not read here; `count` messages came before it. */
  #unread: { readonly place: Place; readonly type: string; readonly count: number } | undefined;

  constructor(notes: ContentNotes, tools: OfferedTools, opaque: Opaque | undefined) {
    this.#notes = notes;
    this.#tools = tools;
    this.#opaque = opaque;
  }

  add({ value: item, note, place, role, isNew }: ReadItem): void {
    if (item === undefined) {
      // A note would not help the model in place of a call.
      if (note && role !== 'assistant') this.#messages.push({ role: 'user', parts: [note] });
      return;
    }
    if (isMessage(item)) {
      this.#addMessage(item, within(place, 'content'));
      return;
    }
    const call = callOfItem(item, this.#tools);
    if (call) {
      const id = this.#calls.add(call.id, call.name);
      if (typeof item['id'] === 'string') this.#callIds.set(item['id'], id);
      this.#addAnswer([{ type: 'tool-call', ...call, id }]);
      return;
    }
    const result = this.#resultIn(item, place);
    if (result) this.#addResult(result, place, isNew);
    else if (!bringsTools(item) && !isSetting(item)) this.#addOther(item, place);
  }

  /** Throws AppError `invalid_request` where the last item was the only new one and says nothing here. */
  end(): AskedMessage[] {
    const messages = this.#messages;
    if (this.#unread?.count === messages.length && (messages.at(-1)?.role ?? 'assistant') === 'assistant') {
      throw refused(
        `${this.#unread.place.path}.type`,
        `${quoted(this.#unread.type)} says nothing to this upstream, and there is no other new input: send a message or an output`,
      );
    }
    return messages;
  }

  #addMessage({ role, content }: Extract<InputItem, { role: string }>, at: Place): void {
    const notes = this.#notes;
    if (role === 'user') this.#messages.push({ role, parts: inputParts(notes, content, at) });
    else if (role !== 'assistant')
      this.#messages.push({ role: 'system', parts: textsIn(notes, content, at) });
    else this.#addAnswer(answerParts(notes, content ?? null, at).filter(({ text }) => text !== ''));
  }

  #addAnswer(parts: readonly AssistantPart[]): void {
    if (this.#messages.at(-1)?.role !== 'assistant') {
      this.#answer = [];
      this.#messages.push({ role: 'assistant', parts: this.#answer });
    }
    for (const part of parts) this.#answer.push(part);
  }

  #addResult(part: ToolResultPart<AnyImage>, { path }: Place, isNew: boolean): void {
    const advice = 'send the call too, or name the response that holds it';
    const callId = this.#calls.answered(part.callId, { param: `${path}.call_id`, isNew, advice });
    if (this.#messages.at(-1)?.role !== 'tool') {
      this.#results = [];
      this.#messages.push({ role: 'tool', parts: this.#results });
    }
    this.#results.push({ ...part, callId });
  }

  /** What came of a call; undefined for other items. */
  #resultIn(item: InputItem, place: Place): ToolResultPart<AnyImage> | undefined {
    const at: Place = { path: `${place.path}.output`, isJustSent: false };
    if (isKind(item, 'function_call_output') || isKind(item, 'custom_tool_call_output')) {
      return toolResult(item.call_id ?? '', inputParts(this.#notes, resultContent(item.output), at));
    }
    if (isKind(item, 'computer_call_output')) {
      const image = this.#notes.shown(imageOf(item.output ?? {}, at), at, item.type);
      return toolResult(item.call_id ?? '', [image]);
    }
    if (isKind(item, 'tool_search_output')) {
      return item.call_id
        ? toolResult(item.call_id, [{ type: 'text', text: foundText(item.tools) }])
        : undefined;
    }
    if (!isClientOutput(item)) return undefined;
    // Outputs of the local shell name their call by its own id or by that of its item.
    return clientResult(item, item.call_id ?? this.#callIds.get(item.id ?? '') ?? item.id ?? '');
  }

  #addOther(item: InputItem, place: Place): void {
    if (isKind(item, 'reasoning')) {
      const reasoning = reasoningIn(item, this.#opaque);
      if (reasoning.text !== '' || reasoning.proof) this.#addAnswer([{ type: 'reasoning', ...reasoning }]);
    } else if (isCompaction(item)) this.#addCompaction(item, place);
    else if (isItemReference(item)) {
      const note = this.#notes.replace(lostItem, place, 'item_reference');
      this.#messages.push({ role: 'user', parts: [note] });
    } else if (isKind(item, 'agent_message')) {
      this.#messages.push({ role: 'user', parts: [agentText(item, this.#notes, place)] });
    } else {
      const type = item.type ?? '';
      this.#notes.ignore(`input.${type}`);
      this.#unread = { place, type, count: this.#messages.length };
    }
  }

  #addCompaction(item: CompactionItem, place: Place): void {
    this.#countRules();
    const brought = readCompaction(item, this.#opaque, this.#notes, place, this.#rules);
    for (const message of brought) this.#messages.push(message);
    this.#countRules();
  }

  #countRules(): void {
    for (const { role, parts } of this.#messages.slice(this.#countedRules)) {
      if (role === 'system') for (const { text } of parts) this.#rules.add(text);
    }
    this.#countedRules = this.#messages.length;
  }
}

/** They say how the request is to be read, and nothing to the model. */
function isSetting({ type }: InputItem): boolean {
  return type === 'configuration_update' || type === 'compaction_trigger';
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
  // What another provider sealed is no text here. OpenAI may get its own back: part of the conversation was relayed to it.
  const proof = proofOf(item);
  if (proof) return { text, proof };
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
  return readContent<typeof part, InputPart>(notes, content, part, place, (known, at) => [
    inputPart(notes, known, at),
  ]);
}

function inputPart(notes: ContentNotes, known: z.infer<typeof part>, at: Place): InputPart {
  switch (known.type) {
    case 'input_image':
      return notes.shown(imageOf(known, at), at, known.type);
    case 'input_file': {
      const { file_data: data, filename: name } = known;
      return filePart({ data, name, dataField: 'file_data' }, notes, at, known.type);
    }
    default:
      return { type: 'text', text: known.type === 'refusal' ? known.refusal : known.text };
  }
}

/** Of messages that hold text alone. */
function textsIn(notes: ContentNotes, content: unknown, place: Place): TextPart[] {
  return inputParts(notes, content, place).map((known) => onlyText(notes, known, place));
}

function answerParts(notes: ContentNotes, content: unknown, place: Place): (TextPart | RefusalPart)[] {
  return readContent<typeof part, TextPart | RefusalPart>(notes, content, part, place, (known, at) =>
    known.type === 'refusal'
      ? [{ type: 'refusal', text: known.refusal }]
      : [onlyText(notes, inputPart(notes, known, at), place)],
  );
}

function onlyText(notes: ContentNotes, part: InputPart, place: Place): TextPart {
  if (part.type === 'text') return part;
  if (part.type !== 'document' || place.isJustSent) return notes.replace(misplaced, place, 'input_image');
  notes.ignore(part.ignoredAs);
  return { type: 'text', text: part.note };
}

const misplaced: Unshown = {
  what: 'an image',
  why: 'is in a message that is neither of the user nor of a tool',
  advice: 'send it in a message of the user',
};

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
