import type { ReasoningPart, ReasoningProof } from '../../core/turn.ts';
import { isJsonObject, parseJsonObject } from '../../lib/parse-json.ts';
import { contentOfSignature, ownSignature, readReasoning } from '../shared/reasoning.ts';

const protocol = 'gemini';

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

/** The signatures of one answer so far. Another model may refuse them. */
export function proofOf(model: string, signed: readonly SignedPart[]): ReasoningProof {
  return { protocol, data: JSON.stringify({ model, signed }) };
}

/** What this model signed in the reasoning of one answer. */
export function signedParts(model: string, reasoning: readonly ReasoningPart[]): SignedPart[] {
  const found = reasoning.flatMap(({ proof }) => {
    const given = proof && readProof(proof);
    return given && (given.model ?? model) === model ? given.signed : [];
  });
  // Each proof of an answer holds those before it.
  return [...new Map(found.map((signed) => [JSON.stringify(signed), signed])).values()];
}

/** The signature that a call came with. */
export function signatureOfCall(proof: ReasoningProof, id: string): string | undefined {
  return readProof(proof)?.signed.find(({ part }) => part.type === 'call' && part.id === id)?.signature;
}

/** The signature that came last, for a client that gives it back with its part. */
function lastSignature(proof: ReasoningProof): string | undefined {
  return readProof(proof)?.signed.at(-1)?.signature;
}

interface GivenProof {
  /** Undefined: the client knows. */
  readonly model?: unknown;
  readonly signed: readonly SignedPart[];
}

/** A proof that is not ours is the signature alone: a client of Google's dialect sent it. */
function readProof({ protocol: given, data }: ReasoningProof): GivenProof | undefined {
  if (given !== protocol) return undefined;
  const { model, signed } = parseJsonObject(data) ?? {};
  if (!Array.isArray(signed)) return { signed: [{ signature: data, part: { type: 'next' } }] };
  return { model, signed: signed.filter(isSignedPart) };
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

/**
 * Clients give back the signature of a part, and mostly not the thoughts before it. So a proof of another upstream travels there
 * together with what it proves; one of Google's own is its signature.
 */
export function signatureOf(text: string, proof: ReasoningProof): string {
  if (proof.protocol === protocol) return lastSignature(proof) ?? proof.data;
  return ownSignature(JSON.stringify({ text, ...proof }));
}

/** What the signature of a part says of the reasoning before it. */
export function signedReasoning(signature: string): ReasoningPart {
  const carried = contentOfSignature(signature);
  const reasoning =
    carried === undefined ? { text: '', proof: { protocol, data: signature } } : readReasoning(carried);
  return { type: 'reasoning', ...reasoning };
}
