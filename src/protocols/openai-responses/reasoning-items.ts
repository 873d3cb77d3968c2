import type { AssistantPart, ReasoningPart, ReasoningProof } from '../../core/turn.ts';
import { isJsonObject, type JsonObject, parseJson } from '../../lib/parse-json.ts';
import { objectsIn, textIn } from '../shared/read-answer.ts';
import { readReasoning } from '../shared/reasoning.ts';

const protocol = 'openai-responses';

/** An item of an answer that holds its reasoning, encrypted or in plain words, and the call it led to; without one it led to text. */
interface ProvenItem {
  readonly item: JsonObject;
  /** Of an item in plain words, which no other model takes: OpenAI's refuse the whole request. */
  readonly model?: string;
  readonly callId?: string;
}

/**
 * The reasoning of one answer as its upstream wants it given back: the items unchanged, each in front of what it led to. Source: OpenAI's
 * guide to reasoning models, "Keeping reasoning items in context". Other vendors encrypt nothing and want the words themselves.
 */
export class ReasoningItems {
  readonly #items: ProvenItem[] = [];
  #isWaiting = 0;
  readonly #model: string;

  /** `model`: as the upstream knows it. */
  constructor(model: string) {
    this.#model = model;
  }

  add(item: JsonObject): void {
    const { id, summary, content, encrypted_content: encrypted } = item;
    const isEncrypted = typeof encrypted === 'string' && encrypted !== '';
    if (!isEncrypted && !objectsIn(content).some(({ text }) => textIn(text) !== '')) return;
    this.#items.push({
      item: {
        type: 'reasoning',
        ...(typeof id === 'string' && { id }),
        summary: objectsIn(summary),
        ...(objectsIn(content).length > 0 && { content }),
        ...(isEncrypted && { encrypted_content: encrypted }),
      },
      ...(!isEncrypted && { model: this.#model }),
    });
    this.#isWaiting += 1;
  }

  /** All so far, once it is known what the last of them led to; undefined where there are no further ones. */
  ledTo(callId?: string): ReasoningProof | undefined {
    if (this.#isWaiting === 0) return undefined;
    if (callId !== undefined) {
      const first = this.#items.length - this.#isWaiting;
      for (const [at, one] of this.#items.entries()) if (at >= first) this.#items[at] = { ...one, callId };
    }
    this.#isWaiting = 0;
    return { protocol, data: JSON.stringify(this.#items) };
  }
}

/** What OpenAI itself sealed of an item that a client sends back; undefined for any other. */
export function proofOf(item: JsonObject): ReasoningProof | undefined {
  const { encrypted_content: encrypted } = item;
  if (typeof encrypted !== 'string' || !encrypted.startsWith('gAAAA')) return undefined;
  const items = new ReasoningItems('');
  items.add(item);
  return items.ledTo();
}

/**
 * The reasoning items that belong in front of each part of an answer: where the proof does not say, in front of what follows it. Proofs
 * grow, so of two with the same item the later one counts. Reasoning of an answer without anything else is left out: the upstream
 * refuses it.
 */
export function reasoningBefore(
  asked: string,
  parts: readonly AssistantPart[],
): ReadonlyMap<AssistantPart, JsonObject[]> {
  const items = new Map<unknown, ProvenItem & { readonly at: number }>();
  for (const [index, part] of parts.entries()) {
    if (part.type !== 'reasoning') continue;
    for (const proven of itemsOf(part.proof)) {
      if ((proven.model ?? asked) !== asked) continue;
      const key = proven.item['encrypted_content'] ?? JSON.stringify(proven.item);
      items.set(key, { ...proven, at: items.get(key)?.at ?? index });
    }
  }
  // Found once for all items, since a history may have very many of them.
  const calls = new Map<string, AssistantPart>();
  const nextOther: (AssistantPart | undefined)[] = [];
  for (const [index, part] of [...parts.entries()].reverse()) {
    nextOther[index] = part.type === 'reasoning' ? nextOther[index + 1] : part;
    if (part.type === 'tool-call') calls.set(part.id, part);
  }
  const before = new Map<AssistantPart, JsonObject[]>();
  for (const { item, callId, at } of items.values()) {
    const call = callId === undefined ? undefined : calls.get(callId);
    const led = call ?? nextOther[at] ?? nextOther[0];
    const known = led && before.get(led);
    if (known) known.push(item);
    else if (led) before.set(led, [item]);
  }
  return before;
}

function itemsOf(proof: ReasoningProof | undefined): ProvenItem[] {
  const value = proof?.protocol === protocol ? parseJson(proof.data) : undefined;
  if (!Array.isArray(value)) return [];
  return value.flatMap((one): ProvenItem[] => {
    if (!isJsonObject(one) || !isJsonObject(one['item'])) return [];
    const { item, callId, model } = one;
    return [
      { item, ...(typeof model === 'string' && { model }), ...(typeof callId === 'string' && { callId }) },
    ];
  });
}

/** No reasoning begins with it. */
const proven = '\u0000';

/** What a client carries of reasoning in `encrypted_content`: its text, and what the upstream wants given back with it. */
export function carriedReasoning(text: string, proof: ReasoningProof | undefined): string {
  return proof ? proven + JSON.stringify({ text, ...proof }) : text;
}

/** What `carriedReasoning` made. */
export function readCarried(content: string): Omit<ReasoningPart, 'type'> {
  return content.startsWith(proven) ? readReasoning(content.slice(proven.length)) : { text: content };
}
