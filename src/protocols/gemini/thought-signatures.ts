import type { ReasoningPart, ReasoningProof } from '../../core/turn.ts';
import { isJsonObject, parseJson } from '../../lib/parse-json.ts';

const protocol = 'gemini';

/**
 * What Google documents for calls that no Gemini model made, or whose signature is lost: Gemini 3 refuses them without a signature.
 * Source: the Gemini API's documentation, "Thought signatures".
 */
export const missingSignature = 'skip_thought_signature_validator';

/** A signature, and the part of an answer that it came with. */
export interface SignedPart {
  readonly signature: string;
  readonly part:
    | { readonly type: 'thought' }
    | { readonly type: 'call'; readonly id: string }
    /** Characters of the answer's text. */
    | { readonly type: 'text'; readonly from: number; readonly to: number }
    /** Whatever comes behind the reasoning. */
    | { readonly type: 'next' };
}

/** The signatures of one answer so far. */
export function proofOf(signed: readonly SignedPart[]): ReasoningProof {
  return { protocol, data: JSON.stringify(signed) };
}

/** All signatures in the reasoning of one answer. */
export function signedParts(reasoning: readonly ReasoningPart[]): SignedPart[] {
  const found = reasoning.flatMap(({ proof }) => (proof ? readProof(proof) : []));
  // Each proof of an answer holds those before it.
  return [...new Map(found.map((signed) => [JSON.stringify(signed), signed])).values()];
}

/** The signature that came last, for a client that gives it back with its part. */
export function lastSignature(proof: ReasoningProof): string | undefined {
  return readProof(proof).at(-1)?.signature;
}

/** A proof without our list is the signature alone: a client of Google's dialect sent it. */
function readProof(proof: ReasoningProof): SignedPart[] {
  if (proof.protocol !== protocol) return [];
  const list = parseJson(proof.data);
  if (!Array.isArray(list)) return [{ signature: proof.data, part: { type: 'next' } }];
  return list.filter(isSignedPart);
}

function isSignedPart(value: unknown): value is SignedPart {
  if (!isJsonObject(value) || typeof value['signature'] !== 'string') return false;
  const { part } = value;
  if (!isJsonObject(part)) return false;
  switch (part['type']) {
    case 'thought':
    case 'next':
      return true;
    case 'call':
      return typeof part['id'] === 'string';
    case 'text':
      return typeof part['from'] === 'number' && typeof part['to'] === 'number';
    default:
      return false;
  }
}
