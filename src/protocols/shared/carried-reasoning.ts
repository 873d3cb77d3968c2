import type { ReasoningPart } from '../../core/turn.ts';
import { parseJsonObject } from '../../lib/parse-json.ts';

/** What a client carries of reasoning, from the JSON of its text and its proof; what is missing there counts as empty. */
export function readReasoning(json: string): Omit<ReasoningPart, 'type'> {
  const { text, protocol, data } = parseJsonObject(json) ?? {};
  const isProof = typeof protocol === 'string' && typeof data === 'string';
  return { text: typeof text === 'string' ? text : '', ...(isProof && { proof: { protocol, data } }) };
}

/** What all of our signatures begin with: a multiple of three bytes, so that it can be seen in base64. */
const ours = 'warp2api ';
const oursEncoded = Buffer.from(ours).toString('base64');

/** A signature for dialects whose clients send reasoning back with one. */
export function ownSignature(content: string): string {
  return Buffer.from(ours + content).toString('base64');
}

/** What `ownSignature` made it of; undefined for a vendor's signature. */
export function contentOfSignature(signature: string): string | undefined {
  if (!signature.startsWith(oursEncoded)) return undefined;
  return Buffer.from(signature, 'base64').toString().slice(ours.length);
}

/** Whether the text of a request holds a signature of ours: a vendor would refuse it. */
export function holdsOurSignature(text: string): boolean {
  return text.includes(`"${oursEncoded}`);
}
