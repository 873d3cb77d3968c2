import type {
  AnyImage,
  AskedMessage,
  ReasoningPart,
  TextPart,
  ToolCallPart,
  ToolResultPart,
} from '../../core/turn.ts';
import { customArguments } from '../custom-tool.ts';
import { partOfFile } from '../file-part.ts';
import { imageFromUrl } from '../image-source.ts';
import { toolResult } from '../message-parts.ts';
import { refused } from '../refused.ts';
import { clientArguments, kindsOfCall } from './client-tools.ts';
import { readCompaction } from './compaction-item.ts';
import { responsesItems } from './items.ts';
import { bringsTools, nameOfCall, type OfferedTools, offeredTools } from './offered-tools.ts';
import type { Opaque } from './opaque.ts';
import {
  type AskedTool,
  type ClientCall,
  type ClientOutput,
  type CompactionItem,
  type InputItem,
  isItemReference,
} from './schema.ts';

interface InputFile {
  readonly file_data?: string | null;
  readonly filename?: string | null;
}
type Content = string | readonly { readonly type: string }[];
type AssistantPart = TextPart | ReasoningPart | ToolCallPart;

export interface DecodedItems {
  readonly messages: AskedMessage[];
  /** Kinds of items that say nothing to this gateway. */
  readonly ignored: readonly string[];
}

/**
 * Items as neutral messages. What one answer was made of, its reasoning, text and calls, are items of their own in this
 * dialect and one message again here; results that follow one another are one message, too. `offset` items are not the
 * request's own: paths in errors count from there.
 */
export function decodeItems(
  items: readonly InputItem[],
  offset: number,
  tools: OfferedTools,
  opaque: Opaque | undefined,
): DecodedItems {
  const messages: AskedMessage[] = [];
  const ignored = new Set<string>();
  const calls = new Set<string>();
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
  const addCall = (id: string, name: string, text: string): void => {
    calls.add(id);
    addAssistant([{ type: 'tool-call', id, name, arguments: text }]);
  };
  const addResult = (part: ToolResultPart<AnyImage>, path: string): void => {
    if (!calls.has(part.callId)) {
      throw refused(
        `${path}.call_id`,
        `there is no call "${part.callId}" before this output: send the call too, or name the response that holds it`,
      );
    }
    if (last()?.role !== 'tool') {
      results = [];
      messages.push({ role: 'tool', parts: results });
    }
    results.push(part);
  };

  for (const [index, item] of items.entries()) {
    const path = `input.${index - offset}`;
    if (isMessage(item)) {
      const { role, content } = item;
      if (role === 'user') messages.push({ role, parts: userParts(content, path) });
      else if (role === 'assistant') addAssistant(textParts(content, path).filter(({ text }) => text !== ''));
      else messages.push({ role: 'system', parts: textParts(content, path) });
    } else if (isKind(item, 'function_call')) {
      addCall(item.call_id, nameOfCall(tools, ['function'], item.name, item.namespace), item.arguments);
    } else if (isKind(item, 'custom_tool_call')) {
      const name = nameOfCall(tools, ['custom'], item.name, item.namespace);
      addCall(item.call_id, name, customArguments(item.input));
    } else if (isKind(item, 'function_call_output') || isKind(item, 'custom_tool_call_output')) {
      addResult(toolResult(item.call_id, userParts(item.output, path, 'output')), path);
    } else if (isClientCall(item)) {
      const name = nameOfCall(tools, kindsOfCall(item.type), item.type.replace(/_call$/, ''));
      addCall(item.call_id, name, JSON.stringify(clientArguments(item)));
    } else if (isKind(item, 'computer_call_output')) {
      addResult(
        toolResult(item.call_id, [imagePart({ image_url: item.output.image_url ?? null }, `${path}.output`)]),
        path,
      );
    } else if (isKind(item, 'tool_search_call')) {
      // Without an id it was run by a provider.
      if (item.call_id)
        addCall(item.call_id, nameOfCall(tools, ['tool_search'], 'tool_search'), argumentsText(item));
      else ignored.add(`input.${item.type}`);
    } else if (bringsTools(item)) {
      if (isKind(item, 'tool_search_output') && item.call_id) {
        addResult(toolResult(item.call_id, [{ type: 'text', text: foundText(item.tools) }]), path);
      }
    } else if (isClientOutput(item)) {
      addResult(clientResult(item), path);
    } else if (isKind(item, 'reasoning')) {
      const text = reasoningText(item, opaque);
      if (text !== '') addAssistant([{ type: 'reasoning', text }]);
    } else if (isCompaction(item)) {
      messages.push(...readCompaction(item, opaque, path));
    } else if (item.type === 'compaction_trigger') {
      throw refused(`${path}.type`, `"compaction_trigger": ${responsesItems.compaction_trigger.says}`);
    } else if (isItemReference(item)) {
      throw refused(path, 'references to items work in responses only: send the item itself');
    } else if (item.type !== 'configuration_update') ignored.add(`input.${item.type}`);
  }
  return { messages, ignored: [...ignored] };
}

function reasoningText(item: Extract<InputItem, { type: 'reasoning' }>, opaque: Opaque | undefined): string {
  const text = [...(item.content ?? []), ...(item.summary ?? [])].map((part) => part.text).join('\n\n');
  // What another provider sealed is no text here.
  return text === '' && item.encrypted_content ? (opaque?.open(item.encrypted_content) ?? '') : text;
}

/** A shell's or a patch's outcome has a shape of its own; a model reads it as it is. */
function clientResult(item: ClientOutput): ToolResultPart {
  const { output, status } = item;
  const said = output ?? status ?? '';
  const text = typeof said === 'string' ? said : JSON.stringify(said);
  const callId = item.call_id ?? item.id ?? '';
  return { type: 'tool-result', callId, text, isError: status === 'failed' };
}

function argumentsText({ arguments: given }: { readonly arguments?: unknown }): string {
  return typeof given === 'string' ? given : JSON.stringify(given ?? {});
}

/** What a search found, by the names the upstream knows the tools under. */
function foundText(found: readonly AskedTool[]): string {
  const { offered } = offeredTools(found);
  if (offered.length === 0) return 'No tools were found.';
  const lines = offered.map(({ name, description }) => `- ${name}${description ? `: ${description}` : ''}`);
  return ['These tools were found and can be called now:', ...lines].join('\n');
}

function texts(content: Content): TextPart[] {
  if (typeof content === 'string') return [{ type: 'text', text: content }];
  return content.flatMap((part): TextPart[] => {
    const { text, refusal } = part as { readonly text?: string; readonly refusal?: string };
    return [{ type: 'text', text: text ?? refusal ?? '' }];
  });
}

function userParts(content: Content, path: string, field = 'content'): (TextPart | AnyImage)[] {
  if (typeof content === 'string') return [{ type: 'text', text: content }];
  return content.flatMap((part, position): (TextPart | AnyImage)[] => {
    const at = `${path}.${field}.${position}`;
    if (part.type === 'input_image') return [imagePart(part as { readonly image_url?: string | null }, at)];
    if (part.type === 'input_file') return [filePart(part as InputFile, at)];
    return texts([part]);
  });
}

/** Of messages that hold text alone. */
function textParts(content: Content, path: string): TextPart[] {
  return userParts(content, path).map((part, position) => {
    if (part.type === 'text') return part;
    throw refused(
      `${path}.content.${position}`,
      'images are taken in messages of the user and in outputs only',
    );
  });
}

function filePart({ file_data: data, filename }: InputFile, path: string): TextPart | AnyImage {
  const part = data ? partOfFile(data, filename, `${path}.file_data`) : undefined;
  if (part === undefined) throw refused(path, 'only text files and images can be sent, as file_data');
  return part;
}

function imagePart({ image_url: url }: { readonly image_url?: string | null }, path: string): AnyImage {
  if (!url)
    throw refused(`${path}.image_url`, 'is missing: images are sent as a data URL or by their address');
  return imageFromUrl(url, `${path}.image_url`);
}

function isMessage(item: InputItem): item is Extract<InputItem, { role: string }> {
  return (item.type === undefined || item.type === 'message') && 'role' in item;
}

function isClientCall(item: InputItem): item is ClientCall {
  return /^(local_shell|shell|apply_patch|computer)_call$/.test(item.type ?? '');
}
function isClientOutput(item: InputItem): item is ClientOutput {
  return /^(local_shell|shell|apply_patch)_call_output$/.test(item.type ?? '');
}

function isCompaction(item: InputItem): item is CompactionItem {
  return item.type === 'compaction' || item.type === 'compaction_summary';
}

function isKind<Kind extends string>(
  item: InputItem,
  kind: Kind,
): item is Extract<InputItem, { type: Kind }> {
  return item.type === kind;
}
