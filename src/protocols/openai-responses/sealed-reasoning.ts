import type { ReasoningPart, ReasoningProof } from '../../core/turn.ts';
import { readReasoning } from '../shared/carried-reasoning.ts';

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
