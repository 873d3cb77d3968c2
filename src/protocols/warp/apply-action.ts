import { KeptMessage } from './memory.ts';
import {
  type AnyMessage,
  type ChangeMessage,
  type ClientAction,
  type FieldPlan,
  Message,
  type MoveMessagesToNewTask,
  newMessage,
  type Schema,
  setValue,
  valueIn,
} from './schema.ts';
import type { ConversationTasks, HeldMessage, HeldTask, ShownText } from './tasks.ts';
import { type FieldBudget, type StringAppend, TooManyFields } from './wire-message.ts';

/** Something in an answer that this adapter passed over; worth a line in a log. */
export type Anomaly =
  | 'unknown-action'
  | 'unknown-mask-path'
  | 'opaque-mask-path'
  | 'not-text-mask-path'
  | 'rewritten-text'
  | 'unmatched-move'
  | 'conversation-split'
  | 'model-fallback'
  | 'unreadable-field';

export type NoteAnomaly = (anomaly: Anomaly, detail?: string) => void;

/** Comparing this many characters counts as one step. */
const charactersAStep = 100;

/** Applies one action of the upstream to the tasks and shows what it adds. Throws when text would be lost. */
export function applyAction(
  tasks: ConversationTasks,
  action: ClientAction['action'],
  text: ShownText,
  budget: FieldBudget,
  note: NoteAnomaly,
): void {
  const read = (bytes: Uint8Array): KeptMessage => KeptMessage.read(bytes, budget);
  switch (action.case) {
    case 'createTask': {
      const { task } = action.value;
      if (!task) return;
      const messages = task.messages.map(read);
      const entry = tasks.createTask(task, messages, true);
      tasks.spend(entry.held.length);
      showAll(tasks, entry, messages, text);
      for (const message of messages) noteModel(message, note);
      return;
    }
    case 'addMessagesToTask': {
      const entry = tasks.ensureTask(action.value.taskId);
      for (const message of action.value.messages.map(read)) {
        put(tasks, entry, message, text);
        noteModel(message, note);
      }
      return;
    }
    case 'updateTaskMessage':
      changeMessage(tasks, action.value, 'update', text, note);
      return;
    case 'appendToMessageContent':
      changeMessage(tasks, action.value, 'append', text, note);
      return;
    case 'updateTaskDescription': {
      const { task } = tasks.ensureTask(action.value.taskId);
      task.description = action.value.description;
      return;
    }
    case 'updateTaskServerData': {
      const { task } = tasks.ensureTask(action.value.taskId);
      task.serverData = action.value.serverData;
      return;
    }
    case 'beginTransaction':
      tasks.begin();
      return;
    case 'commitTransaction':
      tasks.commit();
      return;
    case 'rollbackTransaction': {
      if (!tasks.rollback()) return;
      for (const { isSurfaced, held } of tasks.all()) {
        tasks.spend(held.length);
        if (isSurfaced) for (const message of held) settle(tasks, message, text);
      }
      return;
    }
    case 'moveMessagesToNewTask':
      if (!move(tasks, action.value, read)) note('unmatched-move');
      return;
    case 'startNewConversation':
      note('conversation-split');
      return;
    // For a person in front of the vendor's own client.
    case 'showSuggestions':
    case 'updateTaskSummary':
      return;
    default:
      note('unknown-action');
  }
}

/** The shortcut of applyAction for a string append. False when the message cannot take it that way. */
export function applyAppend(tasks: ConversationTasks, append: StringAppend, text: ShownText): boolean {
  const found = tasks.find(append.taskId, append.messageId);
  if (!found) return false;
  const kind = append.isReasoning ? 'agentReasoning' : 'agentOutput';
  const { held, entry } = found;
  if (held.content.kind !== kind) return false;
  const content = tasks.writable(held).message;
  if (content.case === 'agentOutput') content.value.text = (content.value.text ?? '') + append.delta;
  else if (content.case === 'agentReasoning') {
    content.value.reasoning = (content.value.reasoning ?? '') + append.delta;
  }
  if (entry.isSurfaced) text.append(held.shown, held.content.message, append.delta);
  return true;
}

function changeMessage(
  tasks: ConversationTasks,
  change: ChangeMessage,
  mode: 'update' | 'append',
  text: ShownText,
  note: NoteAnomaly,
): void {
  const patch = change.message;
  if (!patch) return;
  const found = tasks.find(change.taskId, patch.id ?? '');
  if (!found) {
    put(tasks, tasks.ensureTask(change.taskId), KeptMessage.of(patch), text);
    return;
  }
  const { held, entry } = found;
  const target = tasks.writable(held);
  for (const path of new Set(change.mask?.paths)) {
    const result = applyMask(target, patch, path, mode);
    if (result === 'not-text' && path.split('.')[0] === 'agent_output') {
      throw new TypeError(`the upstream appends to ${path}, which is no text`);
    }
    if (result !== 'applied') note(`${result}-mask-path`, path);
  }
  if (entry.isSurfaced) settle(tasks, held, text);
}

/** Of a message that was there before: all that was shown of it is compared. */
function settle(tasks: ConversationTasks, { shown, content }: HeldMessage, text: ShownText): void {
  tasks.spend(Math.ceil(shown.text.length / charactersAStep));
  text.settle(shown, content.message);
}

/** Another model than the one asked for has answered. */
function noteModel({ message: { message } }: KeptMessage, note: NoteAnomaly): void {
  if (message.case === 'modelUsed' && message.value.isFallback)
    note('model-fallback', message.value.modelId ?? '');
}

function put(tasks: ConversationTasks, entry: HeldTask, content: KeptMessage, text: ShownText): void {
  const held = tasks.put(entry, content, true);
  if (entry.isSurfaced) settle(tasks, held, text);
}

/** False where that cannot be done. */
function move(
  tasks: ConversationTasks,
  action: MoveMessagesToNewTask,
  read: (bytes: Uint8Array) => KeptMessage,
): boolean {
  const { newTask, replacementMessages } = action;
  if (!newTask) return false;
  let messages: KeptMessage[];
  let replacements: KeptMessage[];
  try {
    messages = newTask.messages.map(read);
    replacements = replacementMessages.map(read);
  } catch (cause) {
    if (cause instanceof TooManyFields) throw cause;
    return false;
  }
  return tasks.move({
    sourceId: action.sourceTaskId,
    target: { task: newTask, messages },
    firstId: action.firstMessageId,
    lastId: action.lastMessageId,
    expectedCount: action.expectedMessageCount,
    replacements,
  });
}

function showAll(
  tasks: ConversationTasks,
  entry: HeldTask,
  messages: readonly KeptMessage[],
  text: ShownText,
): void {
  if (!entry.isSurfaced) return;
  const added = new Set(messages);
  for (const held of entry.held) if (added.has(held.content)) settle(tasks, held, text);
}

/**
 * `unknown`: the path leads nowhere. `opaque`: it leads into what is kept as bytes here, and cannot be followed.
 * `not-text`: an append names something that is no text.
 */
type MaskResult = 'applied' | 'unknown' | 'opaque' | 'not-text';

/**
 * Copies (`update`) or concatenates (`append`) what `path` names from `patch` to `target`. Paths are relative to the
 * message, dot-separated, with the wire's own field names. Nothing changes unless it was `applied`.
 */
function applyMask(target: Message, patch: Message, path: string, mode: 'update' | 'append'): MaskResult {
  const names = path.split('.');
  const parents: FieldPlan[] = [];
  let schema: Schema = Message;
  let from: AnyMessage = patch;
  for (const name of names.slice(0, -1)) {
    const plan = planNamed(schema, name);
    const inner = plan && valueIn(from, plan);
    if (!plan || inner === undefined) return 'unknown';
    if (!plan.schema || plan.isList) return 'opaque';
    schema = plan.schema;
    from = inner as AnyMessage;
    parents.push(plan);
  }

  const leaf = planNamed(schema, names.at(-1));
  if (!leaf) return 'unknown';
  if (mode === 'append' && (leaf.kind !== 'text' || leaf.isList)) return 'not-text';
  let into: AnyMessage = target;
  for (const plan of parents) {
    if (valueIn(into, plan) === undefined) setValue(into, plan, plan.schema && newMessage(plan.schema));
    into = valueIn(into, plan) as AnyMessage;
  }
  const value = valueIn(from, leaf);
  setValue(into, leaf, mode === 'append' ? `${valueIn(into, leaf) ?? ''}${value ?? ''}` : value);
  return 'applied';
}

function planNamed({ plans }: Schema, name: string | undefined): FieldPlan | undefined {
  return plans.find((plan) => plan.name === name);
}
