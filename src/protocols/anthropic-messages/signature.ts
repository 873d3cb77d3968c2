import type { AnswerIdentity } from '../../core/protocol.ts';
import type { ReasoningProof } from '../../core/turn.ts';
import { parseJsonObject } from '../../lib/parse-json.ts';

const ours = 'warp2api ';

/**
 * Clients send thinking back only when it is signed, and with its signature. So what the upstream wants given back with it travels
 * there; otherwise it says nothing.
 */
export function signatureOf(identity: AnswerIdentity, proof: ReasoningProof | undefined): string {
  return Buffer.from(ours + (proof ? JSON.stringify(proof) : identity.id)).toString('base64');
}

/** What `signatureOf` put into the signature. */
export function proofIn(signature: string | null | undefined): ReasoningProof | undefined {
  const text = Buffer.from(signature ?? '', 'base64').toString();
  if (!text.startsWith(`${ours}{`)) return undefined;
  const { protocol, data } = parseJsonObject(text.slice(ours.length)) ?? {};
  return typeof protocol === 'string' && typeof data === 'string' ? { protocol, data } : undefined;
}

/** Whether an answer in a body was signed here: Anthropic would refuse it. */
export function holdsOurSignature(body: string): boolean {
  return body.includes(`"${Buffer.from(ours).toString('base64')}`);
}
