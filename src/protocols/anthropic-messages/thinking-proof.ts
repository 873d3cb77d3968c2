import type { AnswerIdentity } from '../../core/protocol.ts';
import type { ReasoningPart, ReasoningProof } from '../../core/turn.ts';
import { isJsonObject, parseJsonObject } from '../../lib/parse-json.ts';
import { contentOfSignature, ownSignature, readReasoning } from '../shared/reasoning.ts';

const protocol = 'anthropic-messages';

/** A block of thinking as Anthropic wants it back: unchanged, signed or encrypted. */
export type ThinkingBlock =
  | { readonly type: 'thinking'; readonly thinking: string; readonly signature: string }
  | { readonly type: 'redacted_thinking'; readonly data: string };

/** What of the answer stands before a block of thinking: so many characters of its text, and so many calls. */
export type ThinkingPlace = readonly [characters: number, calls: number];

export interface PlacedThinking {
  readonly block: ThinkingBlock;
  readonly place: ThinkingPlace;
}

const inFront: ThinkingPlace = [0, 0];

/** Of all thinking of an answer so far. Another model could not read it. `places`: one for each block, where not all are in front. */
export function thinkingProof(
  model: string,
  blocks: readonly ThinkingBlock[],
  places: readonly ThinkingPlace[] = [],
): ReasoningProof {
  const areInFront = places.every(([characters, calls]) => characters === 0 && calls === 0);
  return { protocol, data: JSON.stringify({ model, blocks, ...(!areInFront && { places }) }) };
}

/** What this model thought in a message, in order: a proof may hold what the one before it held. */
export function givenThinking(model: string, parts: readonly ReasoningPart[]): PlacedThinking[] {
  const thinking = new Map<string, PlacedThinking>();
  for (const { proof } of parts) {
    const given = proof?.protocol === protocol ? parseJsonObject(proof.data) : undefined;
    if (given?.['model'] !== model || !Array.isArray(given['blocks'])) continue;
    const places: readonly unknown[] = Array.isArray(given['places']) ? given['places'] : [];
    for (const [at, block] of given['blocks'].entries()) {
      if (!isThinkingBlock(block)) continue;
      const key = block.type === 'thinking' ? block.signature : block.data;
      thinking.set(key, { block, place: placeIn(places[at]) });
    }
  }
  return [...thinking.values()];
}

function placeIn(value: unknown): ThinkingPlace {
  const [characters, calls]: readonly unknown[] = Array.isArray(value) ? value : [];
  return typeof characters === 'number' && typeof calls === 'number' ? [characters, calls] : inFront;
}

/** Clients carry it, and may send anything. */
function isThinkingBlock(block: unknown): block is ThinkingBlock {
  if (!isJsonObject(block)) return false;
  const { type, thinking, signature, data } = block;
  if (type === 'redacted_thinking') return typeof data === 'string';
  return type === 'thinking' && typeof thinking === 'string' && typeof signature === 'string';
}

/**
 * Clients send thinking back only when it is signed, and with its signature. So what the upstream wants given back with it travels
 * there; otherwise it says nothing.
 */
export function signatureOf(identity: AnswerIdentity, proof: ReasoningProof | undefined): string {
  return ownSignature(proof ? JSON.stringify(proof) : identity.id);
}

/** What `signatureOf` put into the signature. */
export function proofIn(signature: string | null | undefined): ReasoningProof | undefined {
  return readReasoning(contentOfSignature(signature ?? '') ?? '').proof;
}
