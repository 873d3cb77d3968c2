import type {
  AssistantPart,
  DocumentPart,
  ImagePart,
  Message,
  ReasoningPart,
  TextPart,
  ToolCall,
  ToolResultPart,
} from '../../core/turn.ts';
import { argumentsObject, resultsByCall } from '../shared/calls.ts';
import { missingSignature } from '../shared/reasoning.ts';
import { generationOf } from './gemini-models.ts';
import { type SignedPart, signedParts } from './thought-signatures.ts';

interface Content {
  readonly role: 'user' | 'model';
  readonly parts: object[];
}

/** The history in Gemini's two roles, which take turns, and the instructions before it. */
export function encodeContents(
  messages: readonly Message[],
  model: string,
): { readonly systemInstruction?: object; readonly contents: readonly object[] } {
  const first = messages.findIndex(({ role }) => role !== 'system');
  const leading = first === -1 ? messages : messages.slice(0, first);
  const system = leading.flatMap((message) => (message.role === 'system' ? message.parts : []));
  const parts = system.filter(isSaid).map(encodePart);
  const contents = new ContentsEncoder(messages, model).encode(messages.slice(leading.length));
  if (contents.length > 0) return { ...(parts.length > 0 && { systemInstruction: { parts } }), contents };
  // A request has to hold a word of the user.
  return { contents: [{ role: 'user', parts: parts.length > 0 ? parts : [{ text: 'Go on.' }] }] };
}

class ContentsEncoder {
  readonly #contents: Content[] = [];
  readonly #model: string;
  /** Those that no call was found for yet. */
  readonly #results: ReadonlyMap<string, ToolResultPart[]>;

  constructor(messages: readonly Message[], model: string) {
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
        this.#put('model', encodeModelParts(message.parts, this.#model));
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
      const { name } = part;
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

/** Begins the ids that the decoder gives to calls without one: Gemini never sees them. OpenAI takes 40 characters of an id. */
export const madeIdPrefix = 'gemini-';

/** The parts of an answer, each signature with the part that it came with. `model`: the one that gets them. */
function encodeModelParts(parts: readonly AssistantPart[], model: string): object[] {
  const encoder = new ModelPartsEncoder(parts, model);
  for (const part of parts) encoder.add(part);
  return encoder.end();
}

/** Of a call or its result, where Gemini knows it. */
function idOf(id: string): { readonly id?: string } {
  return id.startsWith(madeIdPrefix) ? {} : { id };
}

type SignedText = Extract<SignedPart['part'], { type: 'text' }> & Pick<SignedPart, 'signature'>;

class ModelPartsEncoder {
  readonly #encoded: object[] = [];
  readonly #model: string;
  readonly #ofCalls = new Map<string, string>();
  /** In the order of the text. */
  readonly #ofTexts: SignedText[] = [];
  /** Characters of the text so far. */
  #at = 0;
  /** A signature of the part that follows. */
  #next: string | undefined;
  #hasCall = false;

  constructor(parts: readonly AssistantPart[], model: string) {
    this.#model = model;
    const reasoning = parts.filter((part): part is ReasoningPart => part.type === 'reasoning');
    for (const { signature, part } of signedParts(model, reasoning)) {
      if (part.type === 'call') this.#ofCalls.set(part.id, signature);
      if (part.type === 'text') this.#ofTexts.push({ ...part, signature });
    }
  }

  add(part: AssistantPart): void {
    switch (part.type) {
      case 'reasoning':
        this.#addReasoning(part);
        break;
      case 'text':
      case 'refusal':
        this.#addText(part.text);
        break;
      case 'tool-call':
        this.#addCall(part);
        break;
    }
  }

  end(): object[] {
    this.#addText('');
    return this.#encoded;
  }

  /** What the model thought is given back where it was signed. */
  #addReasoning(part: ReasoningPart): void {
    for (const { signature, part: signed } of signedParts(this.#model, [part])) {
      if (signed.type === 'next') this.#next = signature;
      if (signed.type !== 'thought' || part.text === '') continue;
      this.#encoded.push({ text: part.text, thought: true, thoughtSignature: signature });
    }
  }

  #addText(text: string): void {
    const start = this.#at;
    this.#at += text.length;
    let from = start;
    for (let signed = this.#ofTexts[0]; signed && signed.to <= this.#at; signed = this.#ofTexts[0]) {
      this.#ofTexts.shift();
      if (signed.from < from) continue;
      this.#put(text.slice(from - start, signed.from - start));
      const own = text.slice(signed.from - start, signed.to - start);
      this.#encoded.push({ text: own, thoughtSignature: signed.signature });
      from = signed.to;
    }
    this.#put(text.slice(from - start));
  }

  #put(text: string): void {
    if (text === '') return;
    const thoughtSignature = this.#takeNext();
    this.#encoded.push({ text, ...(thoughtSignature !== undefined && { thoughtSignature }) });
  }

  #addCall({ id, name, arguments: given }: ToolCall): void {
    this.#addText('');
    const next = this.#takeNext();
    // Gemini 3 refuses calls without one; of calls made together the first has it.
    const isNeeded = generationOf(this.#model) >= 3 && !this.#hasCall;
    const needed = isNeeded ? missingSignature : undefined;
    this.#hasCall = true;
    const thoughtSignature = this.#ofCalls.get(id) ?? next ?? needed;
    const functionCall = { ...idOf(id), name, args: argumentsObject(given) };
    this.#encoded.push({ functionCall, ...(thoughtSignature !== undefined && { thoughtSignature }) });
  }

  #takeNext(): string | undefined {
    const signature = this.#next;
    this.#next = undefined;
    return signature;
  }
}
