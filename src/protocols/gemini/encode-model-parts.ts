import type { AssistantPart, ReasoningPart, ToolCall } from '../../core/turn.ts';
import { argumentsObject } from '../shared/calls.ts';
import { generationOf } from './gemini-models.ts';
import { missingSignature, type SignedPart, signedParts } from './thought-signatures.ts';

/** Begins the ids that the decoder gives to calls without one: Gemini never sees them. OpenAI takes 40 characters of an id. */
export const madeIdPrefix = 'gemini-';

/** The parts of an answer, each signature with the part that it came with. `model`: the one that gets them. */
export function encodeModelParts(parts: readonly AssistantPart[], model: string): object[] {
  const encoder = new ModelPartsEncoder(parts, model);
  for (const part of parts) encoder.add(part);
  return encoder.end();
}

/** Of a call or its result, where Gemini knows it. */
export function idOf(id: string): { readonly id?: string } {
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
