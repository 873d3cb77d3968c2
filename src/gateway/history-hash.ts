import { createHash, type Hash, hash } from 'node:crypto';
import type { AnyImage, AskedMessage } from '../core/turn.ts';
import { parseJson } from '../lib/parse-json.ts';
import { ownTurn } from '../lib/process/own-turn.ts';

/** Longer arguments are not parsed; their text itself is compared. */
const longestReadArguments = 1024 * 1024;
/** Characters that are hashed in one turn of the event loop, plus at most one message. */
const longestStep = 4 * 1024 * 1024;
/** Shorter texts are gathered: a call of the hash costs more than they do. */
const longestGathered = 64 * 1024;

/** A running digest of what was said in a conversation, message by message. */
export class HistoryHash {
  #hash: Hash | undefined;
  #gathered = '';

  copy(): HistoryHash {
    const copy = new HistoryHash();
    copy.#hash = this.#hash?.copy();
    copy.#gathered = this.#gathered;
    return copy;
  }

  /** May be asked for once. */
  digest(): string {
    return this.#hash
      ? this.#hash.update(this.#gathered).digest('base64url')
      : hash('sha256', this.#gathered, 'base64url');
  }

  /** Returns the characters added. The length in front keeps two parts from reading like one. */
  addPart(part: string): number {
    this.#gathered += `${part.length}:${part}`;
    if (this.#gathered.length > longestGathered) {
      this.#hash ??= createHash('sha256');
      this.#hash.update(this.#gathered);
      this.#gathered = '';
    }
    return part.length;
  }

  async addMessages(messages: readonly AskedMessage[]): Promise<void> {
    let length = 0;
    for (const message of messages) {
      length += this.addMessage(message);
      if (length < longestStep) continue;
      await ownTurn(length);
      length = 0;
    }
  }

  /**
   * What clients change on the way is left out: reasoning, empty parts, white space around an answer, spacing of JSON. Returns
   * the characters added.
   */
  addMessage(message: AskedMessage): number {
    const parts: unknown[] = [];
    let text = '';
    for (const part of message.parts) {
      if (part.type === 'text') text += part.text;
      else if (part.type === 'image' || part.type === 'image-url') parts.push(imageOf(part));
      else if (part.type === 'tool-call')
        parts.push(['call', part.id, part.name, canonicalJson(part.arguments)]);
      else if (part.type === 'tool-result') {
        const images = (part.images ?? []).map(imageOf);
        parts.push(['result', part.callId, part.text, part.isError, images]);
      }
    }
    return this.addPart(
      JSON.stringify([message.role, message.role === 'assistant' ? text.trim() : text, parts]),
    );
  }
}

/** An address stands for its image: the picture may change or go, the client still means the same conversation. */
function imageOf(image: AnyImage): readonly string[] {
  return image.type === 'image' ? ['image', image.mediaType, image.data] : ['image-url', image.url];
}

function canonicalJson(text: string): string {
  const value = text.length > longestReadArguments ? undefined : parseJson(text);
  // A model may write arguments that are no JSON; then the text itself is compared.
  return value === undefined ? text : JSON.stringify(value);
}
