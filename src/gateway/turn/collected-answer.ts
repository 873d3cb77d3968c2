import type { CollectedTurn } from '../../core/protocol.ts';
import type {
  Citation,
  ProviderMetadata,
  ReasoningProof,
  TurnEnd,
  TurnEvent,
  Usage,
} from '../../core/turn.ts';
import { endOfString } from '../../protocols/shared/relay.ts';

/** What stands before all that the model writes, in the events of any dialect. */
const written =
  /"(?:content|text|reasoning|reasoning_content|refusal|thinking|partial_json|arguments|delta)":\s*"/g;

/** About how much the model wrote in events that are passed on as they are. Those of Responses that end a part repeat it. */
function charactersIn(events: string): number {
  const parts = events.includes('.done"')
    ? events.split('\n\n').filter((event) => !event.includes('.done"'))
    : [events];
  let characters = 0;
  for (const part of parts) {
    for (const { index, 0: opening } of part.matchAll(written)) {
      const start = index + opening.length;
      characters += Math.max(0, endOfString(part, start - 1) - start - 1);
    }
  }
  return characters;
}

const mostUncounted = 64 * 1024;

/** What an attempt has brought of an answer so far. */
export class CollectedAnswer {
  /** Of a whole answer that is passed on as it is. */
  relayed = '';
  /** Of one that is passed on as it comes, as much as is to be logged. */
  relayedStart = '';
  text = '';
  reasoning = '';
  refusal = '';
  reasoningProof: ReasoningProof | undefined;
  readonly citations: Citation[] = [];
  metadata: ProviderMetadata | undefined;
  readonly toolCalls: { id: string; name: string; arguments: string }[] = [];
  usage: Usage | undefined;
  end: TurnEnd | undefined;
  /** Of what the model wrote. */
  characters = 0;
  /** Of the last call, and what came since it began. */
  #isCallEnded = false;
  #hasGoneOn = false;
  #countedCharacters = 0;
  /** Events that were passed on and are not counted yet: most upstreams give figures, and they need not be. */
  #uncounted = '';
  readonly #mostLogged: number;

  constructor(mostLogged = 0) {
    this.#mostLogged = mostLogged;
  }

  /** About the same as `characters`, of what is passed on as it comes. */
  get passedCharacters(): number {
    return this.#countedCharacters + charactersIn(this.#uncounted);
  }

  /** True when the batch holds content. `keepsRelayed`: the client gets the answer in one piece. */
  take(batch: readonly TurnEvent[], keepsRelayed: boolean): boolean {
    let hasContent = false;
    for (const event of batch) {
      switch (event.type) {
        case 'relayed':
          if (keepsRelayed) this.relayed += event.text;
          else this.#pass(event.text);
          if (this.relayedStart.length < this.#mostLogged) this.relayedStart += event.text;
          hasContent = true;
          break;
        case 'passed':
          hasContent = true;
          break;
        case 'text-delta':
          this.text += event.text;
          this.characters += event.text.length;
          this.#hasGoneOn = true;
          hasContent = true;
          break;
        case 'reasoning-delta':
          this.reasoning += event.text;
          this.characters += event.text.length;
          this.#hasGoneOn = true;
          hasContent = true;
          break;
        case 'refusal-delta':
          this.refusal += event.text;
          this.characters += event.text.length;
          this.#hasGoneOn = true;
          hasContent = true;
          break;
        case 'citation':
          this.citations.push(event.citation);
          this.#hasGoneOn = true;
          hasContent = true;
          break;
        case 'metadata':
          this.metadata = event.metadata;
          break;
        case 'reasoning-proof':
          this.reasoningProof = event.proof;
          this.#hasGoneOn = true;
          break;
        case 'tool-call-start':
          this.toolCalls.push({ id: event.id, name: event.name, arguments: '' });
          this.characters += event.name.length;
          this.#isCallEnded = false;
          this.#hasGoneOn = false;
          hasContent = true;
          break;
        case 'tool-call-delta': {
          const call = this.toolCalls[event.index];
          if (call) call.arguments += event.arguments;
          this.characters += event.arguments.length;
          break;
        }
        case 'tool-call-end':
          if (event.index === this.toolCalls.length - 1) this.#isCallEnded = true;
          break;
        case 'usage':
          this.usage = event.usage;
          break;
        case 'finish':
          this.end = event;
          break;
        default:
      }
    }
    return hasContent;
  }

  #pass(events: string): void {
    this.#uncounted += events;
    if (this.#uncounted.length < mostUncounted) return;
    this.#countedCharacters += charactersIn(this.#uncounted);
    this.#uncounted = '';
  }

  /** The answer with its end. */
  whole({ reason, stopSequence }: Extract<TurnEvent, { type: 'finish' }>): CollectedTurn {
    const { relayed, text, reasoning, reasoningProof, refusal, citations, metadata, toolCalls, usage } = this;
    const whole = { text, reasoning, toolCalls, usage, finishReason: reason };
    // Of one that is passed on as it is, nothing else is known.
    if (relayed !== '') return { ...whole, relayed };
    return {
      ...whole,
      ...(this.#isCallEnded && this.#hasGoneOn && { isLastCallOver: true }),
      ...(reasoningProof && { reasoningProof }),
      ...(refusal !== '' && { refusal }),
      ...(citations.length > 0 && { citations }),
      ...(metadata && { metadata }),
      ...(stopSequence === undefined ? {} : { stopSequence }),
    };
  }
}
