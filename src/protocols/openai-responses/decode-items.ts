import { AppError } from '../../core/errors.ts';
import type {
  AnyImage,
  AskedMessage,
  ReasoningPart,
  TextPart,
  ToolCallPart,
  ToolResultPart,
} from '../../core/turn.ts';
import { imageFromUrl } from '../image-source.ts';
import { type OfferedTools, upstreamName } from './offered-tools.ts';
import type { InputItem } from './schema.ts';

type Content = string | readonly { readonly type: string }[];
type AssistantPart = TextPart | ReasoningPart | ToolCallPart;

/**
 * Items as neutral messages. What one answer was made of, its reasoning, text and calls, are items of their own in this
 * dialect and one message again here; results that follow one another are one message, too. `offset` items are not the
 * request's own: paths in errors count from there.
 */
export function decodeItems(
  items: readonly InputItem[],
  offset: number,
  tools: OfferedTools,
): AskedMessage[] {
  const messages: AskedMessage[] = [];
  const last = () => messages[messages.length - 1];
  const addAssistant = (...parts: AssistantPart[]): void => {
    const before = last();
    if (before?.role === 'assistant') {
      messages[messages.length - 1] = { role: 'assistant', parts: [...before.parts, ...parts] };
    } else messages.push({ role: 'assistant', parts });
  };
  const addResult = (part: ToolResultPart<AnyImage>): void => {
    const before = last();
    if (before?.role === 'tool')
      messages[messages.length - 1] = { role: 'tool', parts: [...before.parts, part] };
    else messages.push({ role: 'tool', parts: [part] });
  };

  for (const [index, item] of items.entries()) {
    const path = `input.${index - offset}`;
    if (isMessage(item)) {
      const { role, content } = item;
      if (role === 'user') messages.push({ role, parts: userParts(content, path) });
      else if (role === 'assistant') addAssistant(...texts(content).filter(({ text }) => text !== ''));
      else messages.push({ role: 'system', parts: texts(content) });
    } else if (isKind(item, 'function_call')) {
      const name = upstreamName(item.name, item.namespace);
      addAssistant({ type: 'tool-call', id: item.call_id, name, arguments: item.arguments });
    } else if (isKind(item, 'custom_tool_call')) {
      const text = JSON.stringify({ input: item.input });
      addAssistant({ type: 'tool-call', id: item.call_id, name: nameOf(item.name, tools), arguments: text });
    } else if (isKind(item, 'function_call_output') || isKind(item, 'custom_tool_call_output')) {
      addResult(toolResult(item, path));
    } else if (isKind(item, 'reasoning')) {
      const text = [...(item.content ?? []), ...(item.summary ?? [])].map((part) => part.text).join('\n\n');
      if (text !== '') addAssistant({ type: 'reasoning', text });
    }
  }
  return messages;
}

function nameOf(name: string, tools: OfferedTools): string {
  for (const [upstream, form] of tools.forms)
    if (form.kind === 'custom' && form.name === name) return upstream;
  return name;
}

function toolResult(
  item: { readonly call_id: string; readonly output: Content },
  path: string,
): ToolResultPart<AnyImage> {
  const parts = userParts(item.output, path, 'output');
  const images = parts.filter((part) => part.type !== 'text');
  return {
    type: 'tool-result',
    callId: item.call_id,
    text: parts.flatMap((part) => (part.type === 'text' ? [part.text] : [])).join('\n'),
    ...(images.length > 0 ? { images } : {}),
    isError: false,
  };
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
    if (part.type === 'input_file') {
      throw refused(at, 'files cannot be sent: put their text into the message');
    }
    return texts([part]);
  });
}

function imagePart({ image_url: url }: { readonly image_url?: string | null }, path: string): AnyImage {
  if (!url)
    throw refused(`${path}.image_url`, 'is missing: images are sent as a data URL or by their address');
  return imageFromUrl(url, `${path}.image_url`);
}

function refused(param: string, reason: string): AppError {
  return new AppError('invalid_request', `${param}: ${reason}.`, { param });
}

function isMessage(item: InputItem): item is Extract<InputItem, { role: string }> {
  return (item.type === undefined || item.type === 'message') && 'role' in item;
}

function isKind<Kind extends string>(
  item: InputItem,
  kind: Kind,
): item is Extract<InputItem, { type: Kind }> {
  return item.type === kind;
}
