// Compares the tasks a client sends back with what it was sent. Every difference is one sentence.
import { isDeepStrictEqual } from 'node:util';
import type { Conversation } from './conversations.ts';
import { normaliseTask } from './schema.ts';
import { activeTasks } from './tasks.ts';
import type { Message, Task } from './wire.ts';

/** Empty when the echo is what a client with this history sends. Both sides as `decodeRequest` gives them. */
export function checkEcho(conversation: Conversation, echoed: readonly Task[]): string[] {
  const complete = compare(activeTasks(conversation.after).map(normaliseTask), echoed);
  if (complete.length === 0 || conversation.lastTurn === 'done') return complete;
  // The last stream did not end well: the client may have dropped it, or kept any part of it.
  return compare(activeTasks(conversation.before).map(normaliseTask), echoed).filter(
    (problem) => !problem.includes(addition),
  );
}

const addition = 'was never sent';

function compare(sent: readonly Task[], echoed: readonly Task[]): string[] {
  const echoedById = new Map(echoed.map((task) => [task.id, task]));
  const sentIds = new Set(sent.map((task) => task.id));
  const problems = echoed
    .filter((task) => !sentIds.has(task.id))
    .map((task) => `echo: task ${task.id} ${addition} or is finished`);
  for (const task of sent) {
    const back = echoedById.get(task.id);
    if (back) problems.push(...compareTask(task, back));
    else problems.push(`echo: task ${task.id} is missing`);
  }
  return problems;
}

function compareTask(sent: Task, echoed: Task): string[] {
  const label = `echo: task ${sent.id}`;
  const { messages: sentMessages = [], ...sentFields } = sent;
  const { messages: echoedMessages = [], ...echoedFields } = echoed;
  const problems = differingFields(label, sentFields, echoedFields);
  const echoedById = new Map(echoedMessages.map((message) => [message.id, message]));
  const sentIds = new Set(sentMessages.map((message) => message.id));
  for (const message of sentMessages) {
    const back = echoedById.get(message.id);
    const messageLabel = `${label}: message ${message.id}`;
    if (back) problems.push(...differingFields(messageLabel, message, back));
    else problems.push(`${messageLabel} is missing`);
  }
  const extra = echoedMessages.filter((message) => !sentIds.has(message.id));
  problems.push(...extra.map((message) => `${label}: message ${message.id} ${addition}`));
  if (problems.length === 0 && !isDeepStrictEqual(idsOf(sentMessages), idsOf(echoedMessages))) {
    problems.push(`${label}: messages are in another order or repeated`);
  }
  return problems;
}

function idsOf(messages: readonly Message[]): (string | undefined)[] {
  return messages.map((message) => message.id);
}

function differingFields(label: string, sent: object, echoed: object): string[] {
  const before = sent as Record<string, unknown>;
  const after = echoed as Record<string, unknown>;
  const names = [...new Set([...Object.keys(before), ...Object.keys(after)])];
  return names
    .filter((name) => !isDeepStrictEqual(before[name], after[name]))
    .map((name) => {
      const field = name === '$unknowns' ? 'unknown fields' : name;
      if (after[name] === undefined) return `${label}: ${field} lost`;
      return before[name] === undefined ? `${label}: ${field} ${addition}` : `${label}: ${field} changed`;
    });
}
