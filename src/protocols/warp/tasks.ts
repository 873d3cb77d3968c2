import { clone, create } from '@bufbuild/protobuf';
import { type Message, MessageSchema, type Task, TaskSchema } from './gen/warp_pb.js';
import { createShown, type Shown } from './shown-text.ts';

/** A message of a task, with what the client has seen of it. */
export interface HeldMessage {
  message: Message;
  readonly shown: Shown;
  /** Came with this turn's answer, not with the remembered conversation. */
  readonly isNew: boolean;
  /** The transaction the message was last copied in. */
  epoch: number;
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
    readonly messages: readonly { readonly held: HeldMessage; readonly message: Message }[];
  }[];
}

/**
 * Steps that go over what is there already, such as copying all messages where a transaction begins. A turn takes some
 * thousands; an answer of a few bytes for each could otherwise ask for minutes of them.
 */
const mostSteps = 20_000_000;

/** The tasks of one conversation as the upstream tells us to keep them. */
export class ConversationTasks {
  #steps = 0;
  #tasks = new Map<string, HeldTask>();
  /** Outlives a message that was dropped, so that one which returns is not shown twice. */
  readonly #shown = new Map<string, Shown>();
  #snapshot: Snapshot | undefined;
  #epoch = 0;

  constructor(remembered: readonly Task[]) {
    for (const task of remembered) this.createTask(task, false);
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
  createTask(task: Task, isNew: boolean): HeldTask {
    const known = this.#tasks.get(task.id ?? '');
    const fields = { ...task, messages: [] };
    if (known) {
      known.task = fields;
      for (const message of task.messages) this.put(known, message, isNew);
      return known;
    }
    const isRoot = (task.dependencies?.parentTaskId ?? '') === '';
    const entry: HeldTask = { task: fields, held: [], byId: new Map(), isSurfaced: isRoot };
    this.#tasks.set(task.id ?? '', entry);
    for (const message of task.messages) this.put(entry, message, isNew);
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
    const task = create(TaskSchema, { id: taskId });
    const entry: HeldTask = { task, held: [], byId: new Map(), isSurfaced: !hasRoot };
    this.#tasks.set(taskId, entry);
    return entry;
  }

  /** Appends a message, or replaces the one of the same id. */
  put(entry: HeldTask, message: Message, isNew: boolean): HeldMessage {
    const id = message.id ?? '';
    const known = id === '' ? undefined : entry.byId.get(id);
    if (known) {
      known.message = message;
      known.epoch = this.#epoch;
      return known;
    }
    const shown = (id === '' ? undefined : this.#shown.get(id)) ?? createShown(message, isNew);
    const held: HeldMessage = { message, shown, isNew, epoch: this.#epoch };
    entry.held.push(held);
    if (id !== '') {
      entry.byId.set(id, held);
      this.#shown.set(id, shown);
    }
    return held;
  }

  /** The message for changing in place; a copy when a snapshot still needs the original. */
  writable(held: HeldMessage): Message {
    if (held.epoch !== this.#epoch) {
      held.message = clone(MessageSchema, held.message);
      held.epoch = this.#epoch;
    }
    return held.message;
  }

  begin(): void {
    this.#epoch++;
    this.spend(this.#tasks.size);
    for (const { held } of this.#tasks.values()) this.spend(held.length);
    this.#snapshot = {
      tasks: [...this.#tasks.values()].map((entry) => ({
        entry,
        task: { ...entry.task },
        messages: entry.held.map((held) => ({ held, message: held.message })),
      })),
    };
  }

  commit(): void {
    this.#snapshot = undefined;
  }

  rollback(): void {
    if (!this.#snapshot) return;
    this.#tasks = new Map();
    for (const { entry, task, messages } of this.#snapshot.tasks) {
      entry.task = task;
      entry.held = messages.map(({ held, message }) => Object.assign(held, { message, epoch: this.#epoch }));
      entry.byId.clear();
      for (const held of entry.held) if (held.message.id) entry.byId.set(held.message.id, held);
      this.#tasks.set(task.id ?? '', entry);
    }
    this.#snapshot = undefined;
  }

  /**
   * Cuts the messages from `firstId` to `lastId` out of a task, puts `replacements` in their place and the cut ones
   * at the end of `target`. False when there is no such range of `expectedCount` messages; then nothing changed.
   */
  move(options: {
    readonly sourceId: string;
    readonly target: Task;
    readonly firstId: string;
    readonly lastId: string;
    readonly expectedCount: number;
    readonly replacements: readonly Message[];
  }): boolean {
    const source = this.#tasks.get(options.sourceId);
    if (!source) return false;
    this.spend(source.held.length);
    const first = source.held.findIndex((held) => held.message.id === options.firstId);
    const last = source.held.findIndex((held) => held.message.id === options.lastId);
    if (first < 0 || last < first || last - first + 1 !== options.expectedCount) return false;

    const replacements = options.replacements.map(
      (message): HeldMessage => ({
        message,
        // It stands for what was said before, so it is no news to the client.
        shown: createShown(message, false),
        isNew: false,
        epoch: this.#epoch,
      }),
    );
    const cut = source.held.slice(first, last + 1);
    source.held = [...source.held.slice(0, first), ...replacements, ...source.held.slice(last + 1)];
    for (const { message } of cut) source.byId.delete(message.id ?? '');
    for (const held of replacements) if (held.message.id) source.byId.set(held.message.id, held);

    const target = this.createTask(options.target, false);
    for (const held of cut) {
      const message = this.writable(held);
      if (options.target.id !== undefined) message.taskId = options.target.id;
      target.held.push(held);
      if (message.id) target.byId.set(message.id, held);
    }
    return true;
  }

  /** The tasks to send with the next turn. */
  active(): Task[] {
    return this.activeEntries().map((entry) => ({
      ...entry.task,
      messages: entry.held.map((held) => held.message),
    }));
  }

  /**
   * The roots, and the tasks that an agent of the upstream still works on, found from the calls that started them and
   * have no result yet.
   */
  activeEntries(): HeldTask[] {
    const active = new Set<HeldTask>();
    const queue = [...this.#tasks.values()].filter((entry) => entry.isSurfaced);
    for (let entry = queue.shift(); entry; entry = queue.shift()) {
      if (active.has(entry)) continue;
      active.add(entry);
      const answered = answeredCalls([entry]);
      for (const { message } of entry.held) {
        if (message.message.case !== 'toolCall') continue;
        const call = message.message.value;
        if (call.tool.case !== 'subagent' || answered.has(call.toolCallId ?? '')) continue;
        const child = this.#tasks.get(call.tool.value.taskId ?? '');
        if (child) queue.push(child);
      }
    }
    return [...this.#tasks.values()].filter((entry) => active.has(entry));
  }
}

/** The ids of the tool calls that have a result among the tasks' messages. */
export function answeredCalls(tasks: Iterable<HeldTask>): ReadonlySet<string> {
  const answered = new Set<string>();
  for (const { held } of tasks) {
    for (const { message } of held) {
      if (message.message.case === 'toolCallResult') answered.add(message.message.value.toolCallId ?? '');
    }
  }
  return answered;
}
