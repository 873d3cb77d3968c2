import type { AnswerStream } from '../shared/answer-stream.ts';
import type { KeptMessage, RememberedTask } from './memory.ts';
import { type Message, newMessage, Task, type ToolCall } from './schema.ts';

/** A message of a task, with what the client has seen of it. */
export class HeldMessage {
  content: KeptMessage;
  /** Came with this turn's answer, not with the remembered conversation. */
  readonly isNew: boolean;
  /** The transaction the message was last copied in. */
  epoch: number;
  #shown: Shown | undefined;

  constructor(content: KeptMessage, isNew: boolean, epoch: number, shown?: Shown) {
    this.content = content;
    this.isNew = isNew;
    this.epoch = epoch;
    this.#shown = shown;
  }

  /** To be asked for before the message is changed. */
  get shown(): Shown {
    this.#shown ??= createShown(this.content.message, this.isNew);
    return this.#shown;
  }
}

export interface HeldTask {
  /** Its own fields; `messages` is empty here. */
  task: Task;
  held: HeldMessage[];
  readonly byId: Map<string, HeldMessage>;
  /** A root task: the client sees its messages. All others belong to agents inside the upstream. */
  readonly isSurfaced: boolean;
}

interface Snapshot {
  readonly tasks: readonly {
    readonly entry: HeldTask;
    readonly task: Task;
    readonly messages: readonly { readonly held: HeldMessage; readonly content: KeptMessage }[];
  }[];
}

/**
 * Steps that go over what is there already, such as copying all messages where a transaction begins. A turn takes some
 * thousands; an answer of a few bytes for each could otherwise ask for minutes of them.
 */
const mostSteps = 20_000_000;
/** To hold one more, which takes memory for as long as the answer lasts, or to copy one. */
const stepsAMessage = 50;
/** To read a message again, since it is changed where a rollback may want it back. */
const bytesAStep = 100;

/** The tasks of one conversation as the upstream tells us to keep them. */
export class ConversationTasks {
  #steps = 0;
  #tasks = new Map<string, HeldTask>();
  /** By id, also those that were dropped, so that one which returns is not shown twice. */
  readonly #met = new Map<string, HeldMessage>();
  #snapshot: Snapshot | undefined;
  #epoch = 0;

  constructor(remembered: readonly RememberedTask[]) {
    for (const { task, messages } of remembered) this.createTask(task, messages, false);
  }

  /** Throws once an answer has asked for too much. */
  spend(steps: number): void {
    this.#steps += steps;
    if (this.#steps > mostSteps) throw new RangeError('the answer asks for too many steps');
  }

  all(): Iterable<HeldTask> {
    return this.#tasks.values();
  }

  task(taskId: string): HeldTask | undefined {
    return this.#tasks.get(taskId);
  }

  /** The message, looked for in the named task or, where that does not exist, in all. */
  find(taskId: string, messageId: string): { entry: HeldTask; held: HeldMessage } | undefined {
    const named = this.#tasks.get(taskId);
    if (named) {
      const held = named.byId.get(messageId);
      return held && { entry: named, held };
    }
    this.spend(this.#tasks.size);
    for (const entry of this.#tasks.values()) {
      const held = entry.byId.get(messageId);
      if (held) return { entry, held };
    }
    return undefined;
  }

  /** Adds a task; a known one takes over the new fields and keeps its messages. */
  createTask(task: Task, messages: readonly KeptMessage[], isNew: boolean): HeldTask {
    const known = this.#tasks.get(task.id ?? '');
    const fields = { ...task, messages: [] };
    if (known) {
      known.task = fields;
      for (const message of messages) this.put(known, message, isNew);
      return known;
    }
    const isRoot = (task.dependencies?.parentTaskId ?? '') === '';
    const entry: HeldTask = { task: fields, held: [], byId: new Map(), isSurfaced: isRoot };
    this.#tasks.set(task.id ?? '', entry);
    for (const message of messages) this.put(entry, message, isNew);
    return entry;
  }

  /**
   * The named task, made if it is not there: as the root when the conversation has none, else hidden, since it may
   * be one of the upstream's own agents.
   */
  ensureTask(taskId: string): HeldTask {
    const known = this.#tasks.get(taskId);
    if (known) return known;
    this.spend(this.#tasks.size);
    const hasRoot = [...this.#tasks.values()].some((entry) => entry.isSurfaced);
    const task = Object.assign(newMessage(Task) as Task, { id: taskId });
    const entry: HeldTask = { task, held: [], byId: new Map(), isSurfaced: !hasRoot };
    this.#tasks.set(taskId, entry);
    return entry;
  }

  /** Appends a message, or replaces the one of the same id. */
  put(entry: HeldTask, content: KeptMessage, isNew: boolean): HeldMessage {
    const { id } = content;
    const known = id === '' ? undefined : entry.byId.get(id);
    if (known) {
      // What was shown is what it said until now.
      void known.shown;
      known.content = content;
      known.epoch = this.#epoch;
      return known;
    }
    this.spend(stepsAMessage);
    const met = id === '' ? undefined : this.#met.get(id);
    const held = new HeldMessage(content, isNew, this.#epoch, met?.shown);
    entry.held.push(held);
    if (id !== '') {
      entry.byId.set(id, held);
      this.#met.set(id, held);
    }
    return held;
  }

  /** The message for changing in place; a copy when a snapshot still needs the original. */
  writable(held: HeldMessage): Message {
    void held.shown;
    const isOriginalNeeded = held.epoch !== this.#epoch;
    if (isOriginalNeeded) this.spend(Math.ceil(held.content.bytesToRead / bytesAStep));
    held.content = held.content.changeable(isOriginalNeeded);
    held.epoch = this.#epoch;
    return held.content.message;
  }

  begin(): void {
    this.#epoch++;
    this.spend(this.#tasks.size);
    for (const { held } of this.#tasks.values()) this.spend(held.length);
    this.#snapshot = {
      tasks: [...this.#tasks.values()].map((entry) => ({
        entry,
        task: { ...entry.task },
        messages: entry.held.map((held) => ({ held, content: held.content })),
      })),
    };
  }

  commit(): void {
    this.#snapshot = undefined;
  }

  /** False where no transaction has begun. */
  rollback(): boolean {
    if (!this.#snapshot) return false;
    this.#tasks = new Map();
    for (const { entry, task, messages } of this.#snapshot.tasks) {
      entry.task = task;
      entry.held = messages.map(({ held, content }) => Object.assign(held, { content, epoch: this.#epoch }));
      entry.byId.clear();
      for (const held of entry.held) if (held.content.id) entry.byId.set(held.content.id, held);
      this.#tasks.set(task.id ?? '', entry);
    }
    this.#snapshot = undefined;
    return true;
  }

  /**
   * Cuts the messages from `firstId` to `lastId` out of a task, puts `replacements` in their place and the cut ones
   * at the end of `target`. False when there is no such range of `expectedCount` messages; then nothing changed.
   */
  move(options: {
    readonly sourceId: string;
    readonly target: RememberedTask;
    readonly firstId: string;
    readonly lastId: string;
    readonly expectedCount: number;
    readonly replacements: readonly KeptMessage[];
  }): boolean {
    const source = this.#tasks.get(options.sourceId);
    if (!source) return false;
    this.spend(source.held.length);
    const first = source.held.findIndex(({ content }) => content.id === options.firstId);
    const last = source.held.findIndex(({ content }) => content.id === options.lastId);
    if (first < 0 || last < first || last - first + 1 !== options.expectedCount) return false;

    this.spend(options.expectedCount * stepsAMessage);
    // They replace what was said before, so they are no news to the client.
    const replacements = options.replacements.map((content) => new HeldMessage(content, false, this.#epoch));
    const cut = source.held.slice(first, last + 1);
    source.held = [...source.held.slice(0, first), ...replacements, ...source.held.slice(last + 1)];
    for (const { content } of cut) source.byId.delete(content.id);
    for (const held of replacements) if (held.content.id) source.byId.set(held.content.id, held);

    const { task, messages } = options.target;
    const target = this.createTask(task, messages, false);
    for (const held of cut) {
      const message = this.writable(held);
      if (task.id !== undefined) message.taskId = task.id;
      target.held.push(held);
      if (message.id) target.byId.set(message.id, held);
    }
    return true;
  }

  /**
   * The tasks to send with the next turn: the roots, and the tasks that an agent of the upstream still works on, found from the calls that started them and
   * have no result yet.
   */
  activeEntries(): HeldTask[] {
    const tasks = [...this.#tasks.values()];
    const queue = tasks.filter((entry) => entry.isSurfaced);
    if (queue.length === tasks.length) return tasks;
    const active = new Set<HeldTask>();
    for (let entry = queue.shift(); entry; entry = queue.shift()) {
      if (active.has(entry)) continue;
      active.add(entry);
      const answered = answeredCalls(messagesOf([entry]));
      for (const { content } of entry.held) {
        const call = answered.has(content.callId) ? undefined : toolCallIn(content);
        if (call?.tool.case !== 'subagent') continue;
        const child = this.#tasks.get(call.tool.value.taskId ?? '');
        if (child) queue.push(child);
      }
    }
    return tasks.filter((entry) => active.has(entry));
  }
}

/** The ids of the tool calls that have a result among the messages. */
export function answeredCalls(messages: Iterable<KeptMessage>): ReadonlySet<string> {
  const answered = new Set<string>();
  for (const { kind, callId } of messages) if (kind === 'toolCallResult') answered.add(callId);
  return answered;
}

export function* messagesOf(tasks: Iterable<HeldTask>): Iterable<KeptMessage> {
  for (const { held } of tasks) for (const { content } of held) yield content;
}

export function toolCallIn(content: KeptMessage): ToolCall | undefined {
  if (content.kind !== 'toolCall') return undefined;
  const { message } = content.message;
  return message.case === 'toolCall' ? message.value : undefined;
}

/** What the client has seen of one message. */
interface Shown {
  isReasoning: boolean;
  text: string;
  /** `even`: all of it is shown. `behind`: shorter than what was shown. `lost`: it says something else by now. */
  state: 'even' | 'behind' | 'lost';
  hasSpoken: boolean;
}

/**
 * Turns changes of messages into text and reasoning events. What was shown cannot be taken back: a message that no
 * longer begins with it stays silent until it does again.
 */
export class ShownText {
  readonly #answer: AnswerStream;
  readonly #note: (anomaly: 'rewritten-text') => void;
  #hasText = false;
  #hasReasoning = false;

  constructor(answer: AnswerStream, note: (anomaly: 'rewritten-text') => void) {
    this.#answer = answer;
    this.#note = note;
  }

  get hasSpoken(): boolean {
    return this.#hasText || this.#hasReasoning;
  }

  /** The message was `even` or not before `delta` was added to its end; constant time while it is. */
  append(shown: Shown, message: Message, delta: string): void {
    if (shown.state === 'even') {
      // The same text as the message's, which it is: one of its own would take the memory of a node for each delta once more.
      shown.text = visibleText(message);
      this.#say(shown, delta);
    } else if (shown.state === 'behind') this.settle(shown, message);
  }

  /** The message changed in any way. */
  settle(shown: Shown, message: Message): void {
    const kind = message.message.case;
    if (kind !== 'agentOutput' && kind !== 'agentReasoning') return;
    const isReasoning = kind === 'agentReasoning';
    if (isReasoning !== shown.isReasoning) {
      shown.isReasoning = isReasoning;
      shown.text = '';
      shown.hasSpoken = false;
    }
    const value = visibleText(message);
    // Not startsWith, which reads both letter by letter, also where they are the same string, as after a rollback.
    if (value.slice(0, shown.text.length) === shown.text) {
      const suffix = value.slice(shown.text.length);
      shown.text = value;
      shown.state = 'even';
      this.#say(shown, suffix);
      return;
    }
    if (shown.state === 'even') this.#note('rewritten-text');
    shown.state = shown.text.startsWith(value) ? 'behind' : 'lost';
  }

  #say(shown: Shown, text: string): void {
    if (text === '') return;
    const isParagraph = !shown.hasSpoken && (shown.isReasoning ? this.#hasReasoning : this.#hasText);
    shown.hasSpoken = true;
    if (shown.isReasoning) this.#hasReasoning = true;
    else this.#hasText = true;
    this.#answer.add({
      type: shown.isReasoning ? 'reasoning-delta' : 'text-delta',
      text: isParagraph ? `\n\n${text}` : text,
    });
  }
}

/** Nothing of the message was shown yet, or, for a message of an earlier turn, all that it says now. */
function createShown(message: Message, isNew: boolean): Shown {
  return {
    isReasoning: message.message.case === 'agentReasoning',
    text: isNew ? '' : visibleText(message),
    state: 'even',
    hasSpoken: false,
  };
}

function visibleText(message: Message): string {
  switch (message.message.case) {
    case 'agentOutput':
      return message.message.value.text ?? '';
    case 'agentReasoning':
      return message.message.value.reasoning ?? '';
    default:
      return '';
  }
}
