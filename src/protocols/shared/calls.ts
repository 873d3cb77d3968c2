import { refused } from '../../core/errors.ts';
import type { AnyImage, Message, ToolResultPart } from '../../core/turn.ts';
import { isJsonObject, type JsonObject, parseJson } from '../../lib/parse-json.ts';

interface ResultPlace {
  /** Of the id in the result. */
  readonly param: string;
  /** The result came after the last answer. */
  readonly isNew: boolean;
  /** What the client has to send, too. */
  readonly advice: string;
}

/** Of a call whose name is missing: its client has answered it, and the model is to see that. */
export const noName = 'unnamed';

interface MadeCall {
  readonly id: string;
  name: string;
  isOpen: boolean;
}

/** Calls in the order they were made; each is looked at once, however many results are matched. */
class CallQueue {
  readonly #calls: MadeCall[] = [];
  #next = 0;

  push(call: MadeCall): void {
    this.#calls.push(call);
  }

  /** The first call that waits for a result. One that `waits` says no to is never looked at again. */
  first(waits: (call: MadeCall) => boolean): MadeCall | undefined {
    while (this.#next < this.#calls.length) {
      const call = this.#calls[this.#next];
      if (call !== undefined && waits(call)) return call;
      this.#next += 1;
    }
    return undefined;
  }
}

/** The calls of a history, each with the result that answers it. */
export class MadeCalls {
  readonly #latest = new Map<string, MadeCall>();
  readonly #all = new CallQueue();
  readonly #byName = new Map<string, CallQueue>();
  #count = 0;

  /** The id of a call, made up where it came without one, unlike those of vendors; the same history gets the same ids. */
  add(id: string | null | undefined, name: string): string {
    this.#count += 1;
    const known = id || `made_call_${this.#count}`;
    const before = this.#latest.get(known);
    if (before?.isOpen) {
      if (before.name !== name) this.#queueOf(name).push(before);
      before.name = name;
      return known;
    }
    const call = { id: known, name, isOpen: true };
    this.#latest.set(known, call);
    this.#all.push(call);
    this.#queueOf(name).push(call);
    return known;
  }

  /**
   * The call that a result with this id answers; without an id the first one that waits for a result. Of older results the
   * call may be gone: clients cut long histories. Throws AppError `invalid_request` for a new result without its call.
   */
  answered(id: string | null | undefined, place: ResultPlace): string {
    return this.#settle(id || this.#all.first(({ isOpen }) => isOpen)?.id, id, place);
  }

  /** The same where results name the tool only. */
  answeredByName(name: string | null | undefined, place: ResultPlace): string {
    const queue = this.#byName.get(name ?? '');
    return this.#settle(queue?.first((call) => call.isOpen && call.name === name)?.id, name, place);
  }

  #queueOf(name: string): CallQueue {
    let queue = this.#byName.get(name);
    if (queue === undefined) {
      queue = new CallQueue();
      this.#byName.set(name, queue);
    }
    return queue;
  }

  #settle(
    found: string | undefined,
    asked: string | null | undefined,
    { param, isNew, advice }: ResultPlace,
  ): string {
    const call = found === undefined ? undefined : this.#latest.get(found);
    if (call !== undefined) {
      call.isOpen = false;
      return call.id;
    }
    if (isNew) throw refused(param, `answers no call of the messages before: ${advice}`);
    return asked || 'unknown';
  }
}

/** The result of a call for which the client never sent one. */
const noResult = 'No result: the client did not say what came of this call.';

/** What came of a call, for upstreams that have no field for a failure: the words say it, unless they do already. */
export function resultText({ text, isError }: Pick<ToolResultPart, 'text' | 'isError'>): string {
  if (!isError || text === noResult || /^\W*\w*error\b/i.test(text)) return text;
  return `Error: ${text.trim() === '' ? 'the call failed.' : text}`;
}

/**
 * A history in which every call has a result, because upstreams break on one that has none. Clients leave calls behind
 * when a person interrupts them; those get a result that says so. Calls at the very end are the client's to answer.
 */
export function withAllResults<Image extends AnyImage>(
  messages: readonly Message<Image>[],
): readonly Message<Image>[] {
  const open = openCalls(messages);
  if (open.size === 0) return messages;
  const whole: Message<Image>[] = [];
  let missing: readonly string[] = [];
  const addMissing = (): void => {
    if (missing.length === 0) return;
    const parts = missing.map(
      (callId): ToolResultPart<Image> => ({ type: 'tool-result', callId, text: noResult, isError: true }),
    );
    whole.push({ role: 'tool', parts });
    missing = [];
  };
  for (const message of messages) {
    // Missing results follow those that are there.
    if (message.role !== 'tool') addMissing();
    whole.push(message);
    if (message.role !== 'assistant') continue;
    missing = callsOf(message).filter((id) => open.has(id));
  }
  if (messages.at(-1)?.role !== 'assistant') addMissing();
  return whole;
}

function openCalls(messages: readonly Message<AnyImage>[]): Set<string> {
  const open = new Set(messages.flatMap(callsOf));
  if (open.size === 0) return open;
  for (const message of messages) {
    if (message.role === 'tool') for (const { callId } of message.parts) open.delete(callId);
  }
  return open;
}

function callsOf(message: Message<AnyImage>): string[] {
  if (message.role !== 'assistant') return [];
  return message.parts.flatMap((part) => (part.type === 'tool-call' ? [part.id] : []));
}

/** The results in a history by the id of their call, in order: ids may come again in later turns. */
export function resultsByCall(messages: readonly Message[]): Map<string, ToolResultPart[]> {
  const results = messages.flatMap((message) => (message.role === 'tool' ? message.parts : []));
  return Map.groupBy(results, ({ callId }) => callId);
}

/** The ids of the calls of one answer: the upstream's, unless it gave none or one that another call has. */
export class CallIds {
  readonly #prefix: string;
  readonly #taken = new Set<string>();

  /** `prefix`: of the ids that are made here. */
  constructor(prefix: string) {
    this.#prefix = prefix;
  }

  next(given: string): string {
    const isOwn = given !== '' && !this.#taken.has(given);
    const id = isOwn ? given : this.#prefix + crypto.randomUUID().replaceAll('-', '');
    this.#taken.add(id);
    return id;
  }
}

/** The arguments of a call as an object. The model's text should be a JSON object; what is not stays where it can be seen. */
export function argumentsObject(text: string): JsonObject {
  const value = shownArguments(text);
  return isJsonObject(value) ? value : { value };
}

/** The same for a client, which gets a list as it came. */
export function shownArguments(text: string): unknown {
  if (text.trim() === '') return {};
  const value = parseJson(text);
  if (value === undefined) return { invalid_json: text };
  return typeof value === 'object' && value !== null ? value : { value };
}
