import type { AnswerIdentity } from '../../core/protocol.ts';
import type { ReasoningProof } from '../../core/turn.ts';
import { contentOfSignature, ownSignature, readReasoning } from '../shared/carried-reasoning.ts';

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
