import { hash } from 'node:crypto';
import type { AskedMessage, AskedRequest, ReasoningProof, ToolCall } from '../../core/turn.ts';
import { parseJson, parseJsonObject } from '../../lib/parse-json.ts';
import type { StateStore } from '../state/state-store.ts';

const ttlMs = 24 * 60 * 60_000;

/**
 * What upstreams want back of the reasoning that led to a call, for clients that send the call back without it: their dialect has no
 * place for it, or they do not know the place. It is found by the call. A store that fails costs the model its earlier thoughts, no more.
 */
export class RememberedReasoning {
  readonly #store: Pick<StateStore, 'get' | 'put'>;

  constructor(store: Pick<StateStore, 'get' | 'put'>) {
    this.#store = store;
  }

  remember(clientId: string, [call]: readonly ToolCall[], proof: ReasoningProof): void {
    if (!call) return;
    const value = Buffer.from(JSON.stringify(proof));
    this.#store.put(keyOf(clientId, call), value, ttlMs, { clientId }).catch(() => {});
  }

  /** The request with what is missing in the tool loop that it goes on with; the request itself where nothing is. */
  completed(clientId: string, request: AskedRequest): AskedRequest | Promise<AskedRequest> {
    const { messages } = request;
    const loop = messages.findLastIndex(({ role }) => role === 'user') + 1;
    const hasGap = messages.some((message, index) => index >= loop && lackingCall(message));
    return hasGap ? this.#complete(clientId, request, loop) : request;
  }

  async #complete(clientId: string, request: AskedRequest, loop: number): Promise<AskedRequest> {
    const { messages } = request;
    const completed = await Promise.all(
      messages.slice(loop).map(async (message) => {
        const call = lackingCall(message);
        const proof = call && (await this.#find(clientId, call));
        if (!proof || message.role !== 'assistant') return message;
        return { ...message, parts: [{ type: 'reasoning' as const, text: '', proof }, ...message.parts] };
      }),
    );
    return { ...request, messages: [...messages.slice(0, loop), ...completed] };
  }

  async #find(clientId: string, call: ToolCall): Promise<ReasoningProof | undefined> {
    const found = await this.#store.get(keyOf(clientId, call)).catch(() => undefined);
    const { protocol, data } = (found && parseJsonObject(Buffer.from(found).toString())) ?? {};
    return typeof protocol === 'string' && typeof data === 'string' ? { protocol, data } : undefined;
  }
}

/** For an account that cannot read what the upstream signed: the model does without its earlier thoughts. */
export function withoutProofs(request: AskedRequest): AskedRequest {
  const messages = request.messages.map((message): AskedMessage => {
    if (message.role !== 'assistant') return message;
    return { ...message, parts: message.parts.filter((part) => part.type !== 'reasoning' || !part.proof) };
  });
  return { ...request, messages };
}

/** The first call of an answer that came back without its proof. */
function lackingCall(message: AskedMessage): ToolCall | undefined {
  if (message.role !== 'assistant') return undefined;
  if (message.parts.some((part) => part.type === 'reasoning' && part.proof)) return undefined;
  return message.parts.find((part) => part.type === 'tool-call');
}

/** Some upstreams give an id to many calls, and some clients write the arguments their own way. */
function keyOf(clientId: string, { id, name, arguments: given }: ToolCall): string {
  const named = ['reasoning', clientId, id, name, parseJson(given) ?? given];
  return hash('sha256', JSON.stringify(named), 'base64url');
}
