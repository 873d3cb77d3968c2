import type { AnswerIdentity } from '../../core/protocol.ts';
import type { ReasoningPart, ReasoningProof } from '../../core/turn.ts';
import { isJsonObject, parseJsonObject } from '../../lib/parse-json.ts';
import { contentOfSignature, ownSignature, readReasoning } from '../shared/reasoning.ts';

const protocol = 'anthropic-messages';

/** A block of thinking as Anthropic wants it back: unchanged, signed or encrypted. */
export type ThinkingBlock =
  | { readonly type: 'thinking'; readonly thinking: string; readonly signature: string }
  | { readonly type: 'redacted_thinking'; readonly data: string };

/** Of all thinking of an answer so far. Another model could not read it. */
export function thinkingProof(model: string, blocks: readonly ThinkingBlock[]): ReasoningProof {
  return { protocol, data: JSON.stringify({ model, blocks }) };
}

/** What this model thought before the rest of a message, in order: a proof may hold what the one before it held. */
export function thinkingBlocks(model: string, parts: readonly ReasoningPart[]): ThinkingBlock[] {
  const blocks = new Map<string, ThinkingBlock>();
  for (const { proof } of parts) {
    const given = proof?.protocol === protocol ? parseJsonObject(proof.data) : undefined;
    if (given?.['model'] !== model || !Array.isArray(given['blocks'])) continue;
    for (const block of given['blocks']) {
      if (isThinkingBlock(block)) blocks.set(block.type === 'thinking' ? block.signature : block.data, block);
    }
  }
  return [...blocks.values()];
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
