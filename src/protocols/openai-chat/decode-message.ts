import type { z } from 'zod';
import type {
  AnyImage,
  AskedMessage,
  AssistantPart,
  ReasoningPart,
  RefusalPart,
  TextPart,
  ToolCallPart,
  ToolResultPart,
} from '../../core/turn.ts';
import { MadeCalls, noName } from '../shared/calls.ts';
import { filePart, imageFromUrl } from '../shared/files.ts';
import {
  argumentsText,
  ContentNotes,
  type DecodedMessages,
  decodedMessages,
  type InputPart,
  noteMessage,
  type Place,
  type ReadEntry,
  readContent,
  readMessages,
  resultContent,
  toolResult,
  within,
} from '../shared/read-messages.ts';
import { customArguments } from '../shared/tools.ts';
import { proofIn } from './reasoning-details.ts';
import {
  answerPart,
  type ChatMessage,
  customCall,
  formerCall,
  functionCall,
  inputPart,
  message as messageSchema,
  textPart,
} from './schema.ts';

type AssistantMessage = Extract<ChatMessage, { role: 'assistant' }>;
type ResultMessage = Extract<ChatMessage, { role: 'tool' | 'function' }>;

/** Throws AppError `invalid_request` naming what the user has just sent and cannot be shown. */
export function decodeMessages(messages: readonly unknown[]): DecodedMessages {
  const decoder = new MessageDecoder();
  const roles = messages.map(roleOf);
  const entries = readMessages(messages, messageSchema, roles, decoder.notes);
  const decoded = entries.map((entry) => decoder.decode(entry));
  return decodedMessages(decoded, decoder.notes);
}

class MessageDecoder {
  readonly notes = new ContentNotes();
  readonly #calls = new MadeCalls();

  decode(entry: ReadEntry<ChatMessage>): AskedMessage {
    const { value: message, place } = entry;
    if (message === undefined) return noteMessage(entry);
    const at = within(place, 'content');
    switch (message.role) {
      case 'system':
      case 'developer':
        return { role: 'system', parts: readContent(this.notes, message.content, textPart, at, textOf) };
      case 'user':
        return { role: 'user', parts: named(message.name, this.#inputParts(message.content, at)) };
      case 'assistant':
        return { role: 'assistant', parts: this.#assistantParts(message, place) };
      case 'tool':
      case 'function':
        return { role: 'tool', parts: [this.#result(message, entry)] };
    }
  }

  #inputParts(content: unknown, place: Place): InputPart[] {
    return readContent(this.notes, content, inputPart, place, (part, at) => [this.#inputPart(part, at)]);
  }

  #inputPart(part: z.infer<typeof inputPart>, place: Place): InputPart {
    switch (part.type) {
      case 'image_url': {
        const { image_url: image } = part;
        const [url, field] = typeof image === 'string' ? [image, 'image_url'] : [image.url, 'image_url.url'];
        return this.notes.shown(imageFromUrl(url, `${place.path}.${field}`, field), place, part.type);
      }
      case 'file': {
        const { file_data: data, filename: name } = part.file;
        const field = data ? 'file.file_data' : 'file';
        return filePart({ data, name, dataField: 'file.file_data', field }, this.notes, place, part.type);
      }
      case 'input_audio': {
        const audio = { what: 'audio', why: 'cannot be sent', advice: 'send its text' };
        return this.notes.replace(audio, place, part.type);
      }
      default:
        return { type: 'text', text: part.text };
    }
  }

  #result(message: ResultMessage, { place, isNew }: ReadEntry<ChatMessage>): ToolResultPart<AnyImage> {
    const advice = 'send the assistant message with the call, too';
    const callId =
      message.role === 'tool'
        ? this.#calls.answered(message.tool_call_id, { param: `${place.path}.tool_call_id`, isNew, advice })
        : this.#calls.answeredByName(message.name, { param: `${place.path}.name`, isNew, advice });
    return toolResult(callId, this.#inputParts(resultContent(message.content), within(place, 'content')));
  }

  #assistantParts(message: AssistantMessage, place: Place): AssistantPart[] {
    const at: Place = { path: place.path, isJustSent: false };
    const content = within(place, 'content');
    const texts = readContent(this.notes, message.content ?? null, answerPart, content, (part) =>
      part.type === 'refusal' ? [refusalOf(part.refusal)] : textOf(part),
    ).filter(({ text }) => text !== '');
    // A refusal is what the model said, wherever the client keeps it.
    if (texts.length === 0 && message.refusal) texts.push(refusalOf(message.refusal));
    if (texts.length === 0 && message.audio) {
      const audio = { what: 'an answer in audio', why: 'is not kept here', advice: 'send its text' };
      texts.push(this.notes.replace(audio, at, 'audio'));
    }
    return [...reasoningParts(message), ...texts, ...this.#callParts(message, at)];
  }

  #callParts(message: AssistantMessage, place: Place): ToolCallPart[] {
    const { tool_calls: calls, function_call: former } = message;
    const known = (calls ?? []).flatMap((value): ToolCallPart[] => {
      const custom = isCustom(value) ? this.notes.read(customCall, value, place) : undefined;
      if (custom) return [this.#call(custom.id, custom.custom.name, customArguments(custom.custom.input))];
      const called = this.notes.read(functionCall, value, place);
      if (called)
        return [this.#call(called.id, called.function.name, argumentsText(called.function.arguments))];
      this.notes.ignore('messages.tool_calls');
      // Its result may still be there.
      this.#calls.add(idOf(value), noName);
      return [];
    });
    const old = this.notes.read(formerCall, former, place);
    return old ? [...known, this.#call(undefined, old.name, argumentsText(old.arguments))] : known;
  }

  #call(id: string | null | undefined, name: string, text: string): ToolCallPart {
    return { type: 'tool-call', id: this.#calls.add(id, name), name, arguments: text };
  }
}

function roleOf(message: unknown): string | undefined {
  const role = (message as { readonly role?: unknown } | null | undefined)?.role;
  if (role === 'function') return 'tool';
  return typeof role === 'string' ? role : undefined;
}

/** Where several people speak, the model has to see who said what. */
function named(name: string | null | undefined, parts: InputPart[]): InputPart[] {
  if (!name) return parts;
  const first = parts.findIndex((part) => part.type === 'text');
  const speaker = name.slice(0, 256);
  if (first === -1) return [{ type: 'text', text: `${speaker}:` }, ...parts];
  return parts.map((part, index) =>
    index === first && part.type === 'text' ? { ...part, text: `${speaker}: ${part.text}` } : part,
  );
}

function refusalOf(text: string): RefusalPart {
  return { type: 'refusal', text };
}

function textOf({ text }: { readonly text: string }): [TextPart] {
  return [{ type: 'text', text }];
}

function reasoningParts(message: AssistantMessage): ReasoningPart[] {
  const { reasoning_details: given } = message;
  const details = given ?? [];
  const text =
    message.reasoning_content ||
    message.reasoning ||
    details.map((detail) => detail.text ?? detail.summary ?? '').join('');
  const proof = details.map(proofIn).findLast((found) => found !== undefined);
  return text || proof ? [{ type: 'reasoning', text, ...(proof && { proof }) }] : [];
}

/** Most calls are not, and to see that by the schema costs more than to read them. */
function isCustom(call: unknown): boolean {
  return (call as { readonly type?: unknown } | null | undefined)?.type === 'custom';
}

function idOf(call: unknown): string | undefined {
  const id = (call as { readonly id?: unknown } | null | undefined)?.id;
  return typeof id === 'string' ? id : undefined;
}
