import { hash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { SendAgain } from '../../core/errors.ts';
import type { AskedRequest } from '../../core/turn.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Route } from './route.ts';

const mostKept = 1_000;
/** A provider may raise a limit at any time. */
const keptMs = 60 * 60_000;

/** The longest answer that a model is asked for, and who says so. */
export interface OutputCap {
  readonly tokens: number;
  /** `refusal`: its upstream, of a longer one in this turn. */
  readonly from: 'configured' | 'earlier_refusal' | 'refusal';
}

type LimitedRoute = Pick<Route, 'provider' | 'model' | 'ownMaxOutput'>;

/** How a turn is sent in another way, beside asking for less. */
export type Change = Exclude<SendAgain['how'], 'shorter'>;
const changes: readonly Change[] = ['without-proofs', 'with-reasoning', 'without-summary', 'without-effort'];

interface SentTurn {
  readonly route: LimitedRoute;
  readonly request: AskedRequest;
  readonly relayed?: { readonly body: string } | undefined;
}

/**
 * What upstreams refused and took in another way: later turns are sent so at first. How long the answers of models may be is also
 * what their owner says.
 */
export class KnownRefusals {
  readonly #limits: LRUCache<string, number>;
  readonly #changes: LRUCache<string, Change>;

  constructor(clock: Pick<Clock, 'monotonic'>) {
    const perf = { now: () => clock.monotonic() };
    const options = { max: mostKept, ttl: keptMs, ttlResolution: 0, perf };
    this.#limits = new LRUCache(options);
    this.#changes = new LRUCache(options);
  }

  /** Of a turn that was answered after that: a refusal may quote what a client wrote, and one that helped is true. */
  note(sendAgain: SendAgain, turn: SentTurn, accountId: string): void {
    if (sendAgain.how === 'shorter') {
      if (sendAgain.isOfModel) this.#limits.set(nameOf(turn.route), sendAgain.mostOutputTokens);
      return;
    }
    const isOfConversation = sendAgain.how === 'without-proofs' && !sendAgain.isOfModel;
    const beginning = isOfConversation ? beginningOf(turn) : '';
    if (beginning !== undefined)
      this.#changes.set(keyOf(sendAgain.how, turn, accountId, beginning), sendAgain.how);
  }

  /** How a turn is to be sent on this account. */
  changesOf(turn: SentTurn, accountId: string): readonly Change[] {
    if (this.#changes.size === 0) return [];
    const keys = changes.map((change) => keyOf(change, turn, accountId));
    const beginning = beginningOf(turn);
    if (beginning !== undefined) keys.push(keyOf('without-proofs', turn, accountId, beginning));
    return keys.flatMap((key) => this.#changes.get(key) ?? []);
  }

  /** The limit of the route's model where it is below what it would be asked for. */
  below(asked: number | undefined, route: LimitedRoute): OutputCap | undefined {
    const { ownMaxOutput: own } = route;
    if (asked === undefined || (own === undefined && this.#limits.size === 0)) return undefined;
    const told = this.#limits.get(nameOf(route));
    if (told !== undefined && told < Math.min(asked, own ?? asked))
      return { tokens: told, from: 'earlier_refusal' };
    return own !== undefined && own < asked ? { tokens: own, from: 'configured' } : undefined;
  }
}

function nameOf({ provider, model }: LimitedRoute): string {
  return `${provider.name}/${model}`;
}

function keyOf(change: Change, { route }: SentTurn, accountId: string, beginning = ''): string {
  return hash('sha256', JSON.stringify([change, accountId, route.model, beginning]), 'base64url');
}

const firstProof = /"(?:encrypted_content|signature|thought_?signature)"\s*:\s*"[^"]+"/i;
const firstCall = /"(?:functionCall|function_call|tool_use|tool_calls)".{0,300}/s;

/** What tells a conversation from others until it is shortened: the first proof in it, else the first call. */
function beginningOf({ request, relayed }: SentTurn): string | undefined {
  if (relayed) return (firstProof.exec(relayed.body) ?? firstCall.exec(relayed.body))?.[0];
  const parts = request.messages.flatMap((message) => (message.role === 'assistant' ? message.parts : []));
  const first =
    parts.find((part) => part.type === 'reasoning' && part.proof) ??
    parts.find((part) => part.type === 'tool-call');
  return first && JSON.stringify(first);
}
