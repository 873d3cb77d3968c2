import type { ReasoningPart, ReasoningProof } from '../../core/turn.ts';
import { parseJsonObject } from '../../lib/parse-json.ts';

/** No reasoning begins with it. */
const proven = '\u0000';

/** What a client carries of reasoning in `encrypted_content`: its text, and what the upstream wants given back with it. */
export function carriedReasoning(text: string, proof: ReasoningProof | undefined): string {
  return proof ? proven + JSON.stringify({ text, ...proof }) : text;
}

/** What `carriedReasoning` made. */
export function readCarried(content: string): Omit<ReasoningPart, 'type'> {
  if (!content.startsWith(proven)) return { text: content };
  const { text, protocol, data } = parseJsonObject(content.slice(proven.length)) ?? {};
  const isProof = typeof protocol === 'string' && typeof data === 'string';
  return { text: typeof text === 'string' ? text : '', ...(isProof && { proof: { protocol, data } }) };
}
