import type { ReasoningPart, ReasoningProof } from '../../core/turn.ts';
import { contentOfSignature, ownSignature, readReasoning } from '../shared/carried-reasoning.ts';
import { lastSignature } from './thought-signatures.ts';

/** The protocol of Google's own signatures. */
const google = 'gemini';

/**
 * Clients give back the signature of a part, and mostly not the thoughts before it. So a proof of another upstream travels there
 * together with what it proves; one of Google's own is its signature.
 */
export function signatureOf(text: string, proof: ReasoningProof): string {
  if (proof.protocol === google) return lastSignature(proof) ?? proof.data;
  return ownSignature(JSON.stringify({ text, ...proof }));
}

/** What the signature of a part says of the reasoning before it. */
export function signedReasoning(signature: string): ReasoningPart {
  const carried = contentOfSignature(signature);
  const reasoning =
    carried === undefined
      ? { text: '', proof: { protocol: google, data: signature } }
      : readReasoning(carried);
  return { type: 'reasoning', ...reasoning };
}
