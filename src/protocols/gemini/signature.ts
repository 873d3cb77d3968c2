import type { ReasoningPart, ReasoningProof } from '../../core/turn.ts';
import { parseJsonObject } from '../../lib/parse-json.ts';
import { lastSignature } from './thought-signatures.ts';

/** The protocol of Google's own signatures. */
const google = 'gemini';
const ours = 'warp2api ';
/** What all of ours begin with: the prefix is a multiple of three bytes. */
const oursEncoded = Buffer.from(ours).toString('base64');

/**
 * Clients give back the signature of a part, and mostly not the thoughts before it. So a proof of another upstream travels there
 * together with what it proves; one of Google's own is its signature.
 */
export function signatureOf(text: string, proof: ReasoningProof): string {
  if (proof.protocol === google) return lastSignature(proof) ?? proof.data;
  return Buffer.from(ours + JSON.stringify({ text, ...proof })).toString('base64');
}

/** What the signature of a part says of the reasoning before it. */
export function signedReasoning(signature: string): ReasoningPart {
  if (!signature.startsWith(oursEncoded)) {
    return { type: 'reasoning', text: '', proof: { protocol: google, data: signature } };
  }
  const sealed = Buffer.from(signature, 'base64').toString().slice(ours.length);
  const { text, protocol, data } = parseJsonObject(sealed) ?? {};
  const isProof = typeof protocol === 'string' && typeof data === 'string';
  return {
    type: 'reasoning',
    text: typeof text === 'string' ? text : '',
    ...(isProof && { proof: { protocol, data } }),
  };
}

/** Whether some signature in the text of a request is one of ours, which Google would refuse. */
export function holdsOurSignature(text: string): boolean {
  return text.includes(`"${oursEncoded}`);
}
