import type {
  AssistantPart,
  DocumentPart,
  ImagePart,
  Message,
  TextPart,
  ToolResultPart,
} from '../../core/turn.ts';
import { resultsByCall } from '../shared/calls.ts';
import { encodeModelParts, idOf } from './encode-model-parts.ts';
import { generationOf } from './gemini-models.ts';

interface Content {
  readonly role: 'user' | 'model';
  readonly parts: object[];
}

/** The history in Gemini's two roles, which take turns, and the instructions before it. */
export function encodeContents(
  messages: readonly Message[],
  model: string,
  nameOf: (name: string) => string,
): { readonly systemInstruction?: object; readonly contents: readonly object[] } {
  const first = messages.findIndex(({ role }) => role !== 'system');
  const leading = first === -1 ? messages : messages.slice(0, first);
  const system = leading.flatMap((message) => (message.role === 'system' ? message.parts : []));
  const parts = system.filter(isSaid).map(encodePart);
  const contents = new ContentsEncoder(messages, model, nameOf).encode(messages.slice(leading.length));
  if (contents.length > 0) return { ...(parts.length > 0 && { systemInstruction: { parts } }), contents };
  // A request has to hold a word of the user.
  return { contents: [{ role: 'user', parts: parts.length > 0 ? parts : [{ text: 'Go on.' }] }] };
}

class ContentsEncoder {
  readonly #contents: Content[] = [];
  readonly #model: string;
  readonly #nameOf: (name: string) => string;
  /** Those that no call was found for yet. */
  readonly #results: ReadonlyMap<string, ToolResultPart[]>;

  constructor(messages: readonly Message[], model: string, nameOf: (name: string) => string) {
    this.#nameOf = nameOf;
    this.#model = model;
    this.#results = resultsByCall(messages);
  }

  encode(messages: readonly Message[]): readonly Content[] {
    // A call has to follow a word of the user.
    if (messages[0]?.role === 'assistant') this.#put('user', [{ text: 'Go on with our conversation.' }]);
    for (const message of messages) this.#add(message);
    return this.#contents;
  }

  #add(message: Message): void {
    switch (message.role) {
      case 'system':
      case 'user':
        this.#put('user', message.parts.filter(isSaid).map(encodePart));
        break;
      case 'assistant':
        this.#put('model', encodeModelParts(this.#named(message.parts), this.#model));
        this.#put('user', this.#resultsOf(message.parts));
        break;
      case 'tool':
        // All others stand right behind their calls.
        for (const part of message.parts) {
          if (!this.#results.get(part.callId)?.includes(part)) continue;
          const text = `The result of a call that is no longer shown: ${part.text}`;
          this.#put('user', [{ text }, ...filesOf(part).map(encodePart)]);
        }
        break;
    }
  }

  #named(parts: readonly AssistantPart[]): readonly AssistantPart[] {
    return parts.map((part) =>
      part.type === 'tool-call' ? { ...part, name: this.#nameOf(part.name) } : part,
    );
  }

  #put(role: Content['role'], parts: readonly object[]): void {
    if (parts.length === 0) return;
    const last = this.#contents.at(-1);
    if (last?.role === role) last.parts.push(...parts);
    else this.#contents.push({ role, parts: [...parts] });
  }

  /** Of all calls of an answer: Gemini wants them together, and behind it. */
  #resultsOf(parts: readonly AssistantPart[]): object[] {
    const beside: object[] = [];
    const responses = parts.flatMap((part) => {
      const result = part.type === 'tool-call' ? this.#results.get(part.id)?.shift() : undefined;
      if (part.type !== 'tool-call' || !result) return [];
      const name = this.#nameOf(part.name);
      const response = result.isError ? { error: result.text } : { output: result.text };
      const files = filesOf(result).map(encodePart);
      // Results hold files since Gemini 3.
      const inside = files.length > 0 && generationOf(this.#model) >= 3;
      if (files.length > 0 && !inside) beside.push({ text: `What the call of ${name} showed:` }, ...files);
      return [{ functionResponse: { ...idOf(part.id), name, response, ...(inside && { parts: files }) } }];
    });
    return [...responses, ...beside];
  }
}

type InputPart = TextPart | ImagePart | DocumentPart;

function encodePart(part: InputPart): object {
  if (part.type === 'text') return { text: part.text };
  return { inlineData: { mimeType: part.mediaType, data: part.data } };
}

/** An empty text is no part: Gemini refuses it. */
function isSaid(part: InputPart): boolean {
  return part.type !== 'text' || part.text !== '';
}

function filesOf({ images = [], documents = [] }: ToolResultPart): InputPart[] {
  return [...images, ...documents];
}
