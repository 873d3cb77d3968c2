import type { ReasoningProof } from '../../core/turn.ts';
import { type JsonObject, parseJson, parseJsonObject } from '../../lib/parse-json.ts';
import { objectsIn } from '../shared/read-answer.ts';
import { readReasoning } from '../shared/reasoning.ts';

const protocol = 'openai-chat';
/** What the pieces of a stream bring bit by bit. */
const grown = ['text', 'summary', 'data'];

/**
 * `reasoning_details`, as OpenRouter has them: what the models behind it signed or encrypted of their reasoning. They have to come
 * back unchanged with the calls of a turn. Source: its documentation, "Reasoning tokens".
 */
export class ReasoningDetails {
  readonly #details: Record<string, unknown>[] = [];

  add(pieces: readonly JsonObject[]): void {
    for (const piece of pieces) this.#addPiece(piece);
  }

  #addPiece(piece: JsonObject): void {
    const last = this.#details.at(-1);
    if (!last || last['type'] !== piece['type'] || last['index'] !== piece['index']) {
      this.#details.push({ ...piece });
      return;
    }
    for (const [name, value] of Object.entries(piece)) {
      const before = last[name];
      const isGrown = grown.includes(name) && typeof before === 'string' && typeof value === 'string';
      if (isGrown) last[name] = before + value;
      else if (value !== null) last[name] = value;
    }
  }

  /** What a call came with beside itself: Google's signature of the thought before it. Source: its guide "Thought signatures". */
  addOfCall(id: string, extra: JsonObject): void {
    this.#details.push({ type: ofCall, id, extra_content: extra });
  }

  /** Undefined where there are none. */
  get proof(): ReasoningProof | undefined {
    return this.#details.length === 0 ? undefined : { protocol, data: JSON.stringify(this.#details) };
  }
}

/** Of a detail that goes back with its call. */
const ofCall = 'tool_call.extra_content';

function detailsIn(proof: ReasoningProof | undefined): JsonObject[] {
  const given = proof?.protocol === protocol ? parseJson(proof.data) : undefined;
  return objectsIn(given);
}

/** The field of an assistant message, where its reasoning came from an upstream of this protocol. */
export function reasoningDetailsOf(proof: ReasoningProof | undefined): JsonObject[] {
  return detailsIn(proof).filter(({ type }) => type !== ofCall);
}

/** The `extra_content` of calls, by their ids. */
export function extraContentOf(proof: ReasoningProof | undefined): [id: unknown, extra: unknown][] {
  return detailsIn(proof).flatMap(({ type, id, extra_content: extra }): [unknown, unknown][] =>
    type === ofCall ? [[id, extra]] : [],
  );
}

/**
 * For a model that names its reasoning `reasoning_content`: DeepSeek and Kimi refuse calls that come back without it. Other models have
 * no use for it. Sources: DeepSeek's guide "Thinking mode", Moonshot's "Use Kimi thinking models".
 */
export function contentProof(model: string, content: string): ReasoningProof {
  return { protocol, data: JSON.stringify({ model, reasoning_content: content }) };
}

/** The `reasoning_content` that this model gave; undefined for any other proof. */
export function reasoningContentOf(model: string, proof: ReasoningProof | undefined): string | undefined {
  const given = proof?.protocol === protocol ? parseJsonObject(proof.data) : undefined;
  const content = given?.['reasoning_content'];
  return given?.['model'] === model && typeof content === 'string' ? content : undefined;
}

/** Stands for reasoning that is not known: where it is wanted, an empty text counts as missing. */
export const unknownReasoning = ' ';

const ours = 'warp2api';

/** What an upstream of another protocol wants given back: clients of this dialect have no other place for it. */
export function carriedDetails(proof: ReasoningProof): object[] {
  const data = Buffer.from(JSON.stringify(proof)).toString('base64');
  return [{ type: 'reasoning.encrypted', data, format: ours, index: 0 }];
}

/** What `carriedDetails` made; undefined for a detail of anyone else's. */
export function proofIn({ format, data }: JsonObject): ReasoningProof | undefined {
  if (format !== ours || typeof data !== 'string') return undefined;
  return readReasoning(Buffer.from(data, 'base64').toString()).proof;
}
