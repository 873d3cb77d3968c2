// What a client holds after the actions it was sent: the same bookkeeping the wire asks of clients, so that the
// next request's echo can be judged. Tasks and messages are never changed in place: older snapshots stay true.
import { isDeepStrictEqual } from 'node:util';
import type { ClientAction, Message, MoveMessages, PatchMessage, Task, ToolCall } from './wire.ts';

/** The tasks of one conversation by id, in the order they were made. */
export interface TaskList {
  snapshot(): ReadonlyMap<string, Task>;
  apply(action: ClientAction): void;
}

export function createTaskList(start: readonly Task[]): TaskList {
  let tasks: ReadonlyMap<string, Task> = new Map(start.map((task) => [task.id ?? '', task]));
  let beforeTransaction: ReadonlyMap<string, Task> | undefined;

  const change = (taskId: string, edit: (task: Task) => Task): void => {
    const task = tasks.get(taskId);
    if (task) tasks = new Map(tasks).set(taskId, edit(task));
  };
  const patch = ({ taskId, message, mask }: PatchMessage, merge: (old: unknown, given: unknown) => unknown) =>
    change(taskId, (task) => ({
      ...task,
      messages: (task.messages ?? []).map((old) =>
        old.id === message.id
          ? mask.paths.reduce((now, path) => patchPath(now, message, path, merge), old)
          : old,
      ),
    }));

  const move = (order: MoveMessages): void => {
    const messages = tasks.get(order.sourceTaskId)?.messages ?? [];
    const first = messages.findIndex((message) => message.id === order.firstMessageId);
    const end = messages.findIndex((message) => message.id === order.lastMessageId) + 1;
    const taskId = order.newTask.id ?? '';
    const cut = messages.slice(first, end).map((message) => ({ ...message, taskId }));
    change(order.sourceTaskId, (task) => ({
      ...task,
      messages: [...messages.slice(0, first), ...order.replacementMessages, ...messages.slice(end)],
    }));
    tasks = new Map(tasks).set(taskId, {
      ...order.newTask,
      messages: [...(order.newTask.messages ?? []), ...cut],
    });
  };

  return {
    snapshot: () => tasks,
    apply(action) {
      if (action.createTask)
        tasks = new Map(tasks).set(action.createTask.task.id ?? '', action.createTask.task);
      if (action.addMessagesToTask) {
        const { taskId, messages } = action.addMessagesToTask;
        change(taskId, (task) => ({ ...task, messages: [...(task.messages ?? []), ...messages] }));
      }
      if (action.updateTaskMessage) patch(action.updateTaskMessage, (_old, given) => given);
      if (action.appendToMessageContent) {
        patch(action.appendToMessageContent, (old, given) => `${old ?? ''}${given ?? ''}`);
      }
      if (action.updateTaskDescription) {
        const { taskId, description } = action.updateTaskDescription;
        change(taskId, (task) => ({ ...task, description }));
      }
      if (action.updateTaskServerData) {
        const { taskId, serverData } = action.updateTaskServerData;
        change(taskId, (task) => ({ ...task, serverData }));
      }
      if (action.moveMessagesToNewTask) move(action.moveMessagesToNewTask);
      // update_task_summary is left out: the official client ignores it, so the echo may carry either summary.
      if (action.beginTransaction) beforeTransaction = tasks;
      if (action.commitTransaction) beforeTransaction = undefined;
      if (action.rollbackTransaction) {
        tasks = beforeTransaction ?? tasks;
        beforeTransaction = undefined;
      }
    },
  };
}

/** The conversation's root task: the one without a parent. */
export function rootOf(tasks: Iterable<Task>): Task | undefined {
  for (const task of tasks) if (!task.dependencies?.parentTaskId) return task;
  return undefined;
}

/** The tasks a client sends back: the root, and subtasks whose Subagent call has no result yet. */
export function activeTasks(tasks: readonly Task[]): Task[] {
  const openSubtasks = new Set(openCalls(tasks).map((call) => call.subagent?.taskId));
  return tasks.filter((task) => !task.dependencies?.parentTaskId || openSubtasks.has(task.id));
}

/** Calls of the client's tools that no result answers yet. */
export function pendingCalls(tasks: readonly Task[]): ToolCall[] {
  return openCalls(tasks).filter((call) => call.callMcpTool);
}

function openCalls(tasks: readonly Task[]): ToolCall[] {
  const messages = tasks.flatMap((task) => task.messages ?? []);
  const answered = new Set(messages.map((message) => message.toolCallResult?.toolCallId));
  return messages.flatMap(({ toolCall }) =>
    toolCall && !answered.has(toolCall.toolCallId) ? [toolCall] : [],
  );
}

/** Applies one mask path such as `agent_output.text`. A path the message does not have changes nothing. */
function patchPath(
  message: Message,
  given: Message,
  path: string,
  merge: (old: unknown, given: unknown) => unknown,
): Message {
  const names = path
    .split('.')
    .map((name) => name.replace(/_(\w)/g, (_all, letter: string) => letter.toUpperCase()));
  const patched = patchNames(message, given, names, merge) as Message;
  return isDeepStrictEqual(patched, message) ? message : patched;
}

function patchNames(
  old: unknown,
  given: unknown,
  [name, ...rest]: readonly string[],
  merge: (old: unknown, given: unknown) => unknown,
): unknown {
  if (name === undefined) return merge(old, given);
  const givenRecord = (given ?? {}) as Record<string, unknown>;
  const oldRecord = (old ?? {}) as Record<string, unknown>;
  if (!(name in givenRecord)) return old;
  return { ...oldRecord, [name]: patchNames(oldRecord[name], givenRecord[name], rest, merge) };
}
