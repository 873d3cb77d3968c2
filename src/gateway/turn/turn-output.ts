import { AppError } from '../../core/errors.ts';
import type { CollectedTurn } from '../../core/protocol.ts';
import type { AskedRequest, TurnEvent, Usage } from '../../core/turn.ts';
import { countTokens, sumUsage } from '../emulation/token-count.ts';
import type { Attempt } from './attempt.ts';

/** Where the answer to one turn goes. It ends with one `finish` or one `fail`, or with neither when the client has left. */
export interface TurnOutput {
  /** Nothing reaches the client before the end, so that an answer that broke off may be begun again. */
  readonly isBuffered: boolean;
  /** The HTTP status the client got, for the log. */
  readonly status: number;
  /** What comes from now on is this attempt's; what came before of a buffered answer is void. */
  begin(attempt: Attempt): void;
  /** A promise: the reader is behind, until it resolves. */
  write(events: readonly TurnEvent[]): Promise<void> | undefined;
  /** The whole answer, and the events of it that were not written yet, with the last one. */
  finish(answer: CollectedTurn, events: readonly TurnEvent[]): void;
  /** `events` ends with the error. */
  fail(error: AppError, events: readonly TurnEvent[]): void;
}

/** Holds an answer that no client has seen yet. */
export class BufferedOutput implements TurnOutput {
  readonly isBuffered = true;
  protected readonly output: TurnOutput;
  answer: CollectedTurn | undefined;

  constructor(output: TurnOutput) {
    this.output = output;
  }

  get status(): number {
    return this.output.status;
  }
  begin(attempt: Attempt): void {
    this.output.begin(attempt);
  }
  write(_events: readonly TurnEvent[]): undefined {}
  finish(answer: CollectedTurn, _events: readonly TurnEvent[]): void {
    this.answer = answer;
  }
  fail(): void {}
}

/** Holds a streamed answer until it is whole: one that breaks off is begun again, and the client does not notice. */
export class HeldOutput extends BufferedOutput {
  #held: TurnEvent[] = [];

  override begin(attempt: Attempt): void {
    this.#held = [];
    super.begin(attempt);
  }
  override write(events: readonly TurnEvent[]): undefined {
    for (const event of events) this.#held.push(event);
  }
  override finish(answer: CollectedTurn, events: readonly TurnEvent[]): void {
    this.output.finish(answer, [...this.#held, ...events]);
  }
}

/** An answer that broke off, as far as the client has it. */
export interface BrokenAnswer {
  readonly text: string;
  readonly usage: Usage | undefined;
}

/** The request with the text so far as the beginning of the answer; some models refuse white space at its end. */
export function prefilled(request: AskedRequest, { text }: BrokenAnswer): AskedRequest {
  const { messages, limits } = request;
  const { maxOutputTokens } = limits;
  const left = maxOutputTokens === undefined ? undefined : Math.max(1, maxOutputTokens - countTokens(text));
  return {
    ...request,
    messages: [...messages, { role: 'assistant', parts: [{ type: 'text', text: text.trimEnd() }] }],
    limits: left === undefined ? limits : { ...limits, maxOutputTokens: left },
  };
}

/** A model that was given the beginning and says so much of it again has begun again. */
const leastRepeated = 24;

/**
 * The rest of an answer that broke off. `isPrefilled`: the model goes on with the text so far; else it begins again, and what the
 * client has already is held back. Reasoning is not shown again.
 */
export class ContinuedOutput implements TurnOutput {
  readonly isBuffered = false;
  readonly #output: TurnOutput;
  readonly #broken: BrokenAnswer;
  #prefill: string | undefined;
  /** What has been said of the text, by the models before and this one. */
  #said: string;
  #isNew: boolean;

  constructor(output: TurnOutput, broken: BrokenAnswer, isPrefilled: boolean) {
    this.#output = output;
    this.#broken = broken;
    this.#prefill = isPrefilled ? broken.text.trimEnd() : undefined;
    this.#said = this.#prefill ?? '';
    this.#isNew = broken.text === '';
  }

  /** As the client has it. */
  get text(): string {
    return this.#isNew ? this.#said : this.#broken.text;
  }
  get status(): number {
    return this.#output.status;
  }
  begin(attempt: Attempt): void {
    this.#output.begin(attempt);
  }
  write(events: readonly TurnEvent[]): Promise<void> | undefined {
    const shown = this.#shown(events);
    return shown.length > 0 ? this.#output.write(shown) : undefined;
  }
  finish(answer: CollectedTurn, events: readonly TurnEvent[]): void {
    const shown = this.#shown(events);
    const usage = sumUsage(this.#broken.usage, answer.usage);
    this.#output.finish({ ...answer, text: this.text, usage }, shown);
  }
  fail(error: AppError, events: readonly TurnEvent[]): void {
    this.#output.fail(error, events.slice(-1));
  }

  /** Throws AppError where the answer is begun in other words than those the client has. */
  #shown(events: readonly TurnEvent[]): TurnEvent[] {
    return events.flatMap((event): TurnEvent[] => {
      switch (event.type) {
        case 'reasoning-delta':
        case 'reasoning-proof':
          return [];
        case 'text-delta': {
          const text = this.#newIn(event.text);
          return text === '' ? [] : [{ ...event, text }];
        }
        case 'usage':
          return [{ ...event, usage: sumUsage(this.#broken.usage, event.usage) ?? event.usage }];
        case 'finish':
        case 'tool-call-start':
          return [...this.#heldBack(), event];
        default:
          return [event];
      }
    });
  }

  /** What the end shows not to be a beginning said again. */
  #heldBack(): TurnEvent[] {
    if (this.#isNew || this.#said === this.#broken.text) return [];
    if (this.#prefill === undefined) throw differs();
    const text = this.#said.slice(this.#prefill.length);
    if (text.trim() === '') return [];
    this.#isNew = true;
    this.#said = this.#broken.text + text;
    return [{ type: 'text-delta', text }];
  }

  #newIn(text: string): string {
    this.#said += text;
    if (this.#isNew) return text;
    const { text: known } = this.#broken;
    if (this.#prefill !== undefined) {
      const own = this.#said.slice(this.#prefill.length);
      const repeated = Math.min(leastRepeated, this.#prefill.length);
      if (own !== '' && own.length < repeated && this.#prefill.startsWith(own)) return '';
      if (own.startsWith(this.#prefill.slice(0, repeated))) {
        this.#prefill = undefined;
        this.#said = own;
      }
    }
    if (this.#said.length <= known.length && known.startsWith(this.#said)) return '';
    const isSame = this.#said.startsWith(known);
    if (!isSame && this.#prefill === undefined) throw differs();
    this.#isNew = true;
    // White space at the end of what the client has need not be said again.
    const fresh = this.#said.slice(isSame ? known.length : (this.#prefill ?? '').length);
    this.#said = known + fresh;
    return fresh;
  }
}

function differs(): AppError {
  return new AppError(
    'upstream_protocol',
    'The answer broke off, and another upstream began it in other words, so that it cannot be continued. Ask again.',
    { fault: 'service', failover: 'no' },
  );
}
