import { expect, test } from 'vitest';
import { activeTasks, createTaskList, pendingCalls } from './tasks.ts';
import type { ClientAction, Message, Task } from './wire.ts';

const say = (id: string, text: string): Message => ({ id, agentOutput: { text } });
const add = (...messages: Message[]): ClientAction => ({ addMessagesToTask: { taskId: 'root', messages } });
const append = (id: string, text: string, path = 'agent_output.text'): ClientAction => ({
  appendToMessageContent: { taskId: 'root', message: say(id, text), mask: { paths: [path] } },
});

function held(...actions: ClientAction[]): readonly Task[] {
  const tasks = createTaskList([{ id: 'root' }]);
  actions.forEach(tasks.apply);
  return [...tasks.snapshot().values()];
}

test('a rollback takes back all that happened since the transaction began, a commit keeps it', () => {
  const begin = { beginTransaction: {} };
  const given = [add(say('a', 'kept')), begin, add(say('b', 'new')), append('a', ' and more')];
  expect(held(...given, { rollbackTransaction: {} })).toEqual([{ id: 'root', messages: [say('a', 'kept')] }]);
  const committed = held(...given, { commitTransaction: {} }, { rollbackTransaction: {} });
  expect(committed[0]?.messages).toEqual([say('a', 'kept and more'), say('b', 'new')]);
});

test('a patch changes only what its mask names, and an unknown path nothing', () => {
  const patch = { id: 'a', agentReasoning: { reasoning: 'no', finishedDuration: { seconds: 1 } } };
  const mask = { paths: ['agent_reasoning.finished_duration'] };
  const thinking = { id: 'a', agentReasoning: { reasoning: 'hm' } };
  const tasks = held(
    add(thinking),
    { updateTaskMessage: { taskId: 'root', message: patch, mask } },
    append('a', 'x', 'no_such.path'),
  );
  const finished = { reasoning: 'hm', finishedDuration: { seconds: 1 } };
  expect(tasks[0]?.messages).toEqual([{ id: 'a', agentReasoning: finished }]);
});

test('a subtask is active, and a call pending, until its result stands in the history', () => {
  const subtask: Task = { id: 'sub', dependencies: { parentTaskId: 'root' } };
  const calls = [
    { id: 'a', toolCall: { toolCallId: '1', subagent: { taskId: 'sub' } } },
    { id: 'b', toolCall: { toolCallId: '2', callMcpTool: { name: 'get_time' } } },
  ];
  const open = [{ id: 'root', messages: calls }, subtask];
  expect(activeTasks(open).map(({ id }) => id)).toEqual(['root', 'sub']);
  expect(pendingCalls(open).map(({ toolCallId }) => toolCallId)).toEqual(['2']);
  const results = ['1', '2'].map((toolCallId) => ({ id: `r${toolCallId}`, toolCallResult: { toolCallId } }));
  const over = [{ id: 'root', messages: [...calls, ...results] }, subtask];
  expect(activeTasks(over).map(({ id }) => id)).toEqual(['root']);
  expect(pendingCalls(over)).toEqual([]);
});
