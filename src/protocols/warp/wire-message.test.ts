import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeMemory } from './memory.ts';
import { createWarpOutbound } from './outbound.ts';
import { decodeAnswer } from './testing/decode.ts';
import {
  actions,
  add,
  appendText,
  createTask,
  finished,
  init,
  mcpCall,
  message,
  plain,
  task,
  textOf,
  turnRequest,
  user,
  userQuery,
} from './testing/events.ts';
import { type Field, raw, readRaw } from './testing/wire.ts';
import { encoded } from './wire-message.ts';

/** Begins a field that is longer than the message around it. */
const broken = Uint8Array.of(0x0a, 0x7f, 0x01);
/** Text that is no UTF-8. */
const noText = Uint8Array.of(0xff, 0xfe);

const said = (...more: readonly Field[]) => raw([1, 'm1'], [3, raw([1, 'Hel'])], ...more);

function answer(options: {
  readonly message?: readonly Field[];
  readonly others?: readonly Uint8Array[];
  readonly task?: readonly Field[];
  readonly actions?: readonly Uint8Array[];
  readonly finished?: readonly Field[];
  readonly init?: Uint8Array;
}) {
  return decodeAnswer([
    options.init ?? init(),
    actions(createTask(task('T', ...(options.task ?? []))), ...(options.actions ?? [])),
    actions(add('T', userQuery('u1', 'Hi'), ...(options.others ?? []), said(...(options.message ?? [])))),
    actions(appendText('T', 'm1', 'lo')),
    finished(2, ...(options.finished ?? [])),
  ]);
}

describe('a field that cannot be read', () => {
  const inMessage = (...fields: readonly Field[]) => ({ others: [message('x1', ...fields)] });
  it.each<[string, Parameters<typeof answer>[0], string]>([
    ['token usage', { finished: [[8, broken]] }, 'StreamFinished.token_usage'],
    ['a token usage that is a number', { finished: [[8, 5]] }, 'StreamFinished.token_usage'],
    ['a cost', { finished: [[10, broken]] }, 'StreamFinished.request_cost'],
    ['a cost that is a text', { finished: [[10, raw([1, 'much'])]] }, 'RequestCost.exact'],
    ['totals', { finished: [[11, broken]] }, 'StreamFinished.conversation_usage_metadata'],
    ['tokens by model', { finished: [[11, raw([6, broken])]] }, 'ConversationUsage.warp_token_usage'],
    ['tokens of a model', { finished: [[11, raw([6, raw([2, broken])])]] }, 'ModelTokensEntry.value'],
    ['charges', { finished: [[13, broken]] }, 'StreamFinished.request_charges'],
    ['charges of a category', { finished: [[13, raw([1, broken])]] }, 'RequestCharges.usage_by_category'],
    ['a flag', { finished: [[9, 'yes']] }, 'StreamFinished.should_refresh_model_config'],
    ['a timestamp', { message: [[14, 7]] }, 'Message.timestamp'],
    ['a citation', { message: [[8, { float: 1 }]] }, 'Message.citations'],
    ['server data', { message: [[7, noText]] }, 'Message.server_message_data'],
    ['a request id', { message: [[13, noText]] }, 'Message.request_id'],
    ['a todo list', inMessage([10, 3]), 'Message.update_todos'],
    ['a result', inMessage([5, broken]), 'Message.tool_call_result'],
    ['the id of a result', inMessage([5, raw([1, noText])]), 'ToolCallResult.tool_call_id'],
    ['reasoning', inMessage([15, broken]), 'Message.agent_reasoning'],
    ['a text of reasoning', inMessage([15, raw([1, noText])]), 'AgentReasoning.reasoning'],
    ['the model used', inMessage([25, broken]), 'Message.model_used'],
    ['a description', { task: [[2, noText]] }, 'Task.description'],
    ['dependencies', { task: [[3, broken]] }, 'Task.dependencies'],
    ['suggestions', { actions: [raw([6, 1])] }, 'ClientAction.show_suggestions'],
    ['the start of a transaction', { actions: [raw([9, 1])] }, 'ClientAction.begin_transaction'],
    ['the start', { init: raw([1, broken]) }, 'ResponseEvent.init'],
    ['the ids of the start', { init: raw([1, raw([1, noText])]) }, 'StreamInit.conversation_id'],
  ])('fails no answer: %s', (_name, options, field) => {
    const { events, anomalies } = answer(options);
    expect(textOf(events)).toBe('Hello');
    expect(events.at(-1)).toEqual({ type: 'finish', reason: 'stop' });
    expect(anomalies).toContain(`unreadable-field ${field}`);
  });

  it('is sent back as it came', () => {
    const odd: Field[] = [
      [7, noText],
      [14, 7],
      [8, { float: 1 }],
      [40, 'new'],
    ];
    const first = answer({ message: odd, task: [[3, broken]], others: [message('x1', [5, broken])] });
    const { request } = createWarpOutbound().open({
      request: turnRequest(),
      remembered: { memory: first.memory ?? new Uint8Array(), newMessages: [user('More')] },
    });
    const echoed = readRaw(request.body).at(1, 1);
    expect(echoed.at(3).bytes).toEqual(broken);
    const [, other, own] = echoed.all(5);
    expect(other?.at(5).bytes).toEqual(broken);
    expect(own?.at(7).bytes).toEqual(noText);
    expect(own?.varint(14)).toBe(7);
    expect(own?.numbers.toSorted((a, b) => a - b)).toEqual([1, 3, 7, 8, 14, 40]);
    expect(own?.at(3, 1).text).toBe('Hello');
  });

  it('does not make a conversation remembered that is no longer the one upstream', () => {
    const move = raw([14, broken]);
    const { events, memory, anomalies } = answer({ actions: [move] });
    expect(textOf(events)).toBe('Hello');
    expect(anomalies).toContain('unreadable-field ClientAction.move_messages_to_new_task');
    expect(memory).toBeUndefined();
  });

  it('keeps what stands beside it in figures', () => {
    const { events } = answer({
      finished: [
        [8, broken],
        [8, raw([2, 10], [3, 2])],
        [10, raw([1, 'x'])],
      ],
    });
    expect(events).toContainEqual({
      type: 'usage',
      usage: { inputTokens: 10, outputTokens: 2, credits: 0 },
    });
  });

  it.each<[string, Uint8Array]>([
    ['the text', actions(add('T', raw([1, 'm1'], [3, raw([1, noText])])))],
    ['what holds the text', actions(add('T', raw([1, 'm1'], [3, broken])))],
    ['a message', actions(add('T', broken))],
    ['a call', actions(add('T', raw([1, 'm1'], [4, broken])))],
    ['the name of a call', actions(add('T', raw([1, 'm1'], [4, raw([12, raw([1, noText])])])))],
    ['an action', actions(broken)],
    ['all actions', raw([2, broken])],
    ['the end', raw([3, broken])],
    ['an event', broken],
  ])('fails the answer where it is %s', (_name, event) => {
    const { events } = decodeAnswer([init(), event, finished()]);
    expect(plain(events).at(-1)).toEqual({ type: 'error', code: 'upstream_protocol' });
  });
});

it('takes a message in two pieces as one, and sends it back as it came', () => {
  const pieces = raw([1, 'm1'], [3, raw([1, 'old'], [9, 'a'])], [3, raw([1, 'new'])]);
  const { events, memory } = decodeAnswer([init(), actions(add('T', pieces)), finished()]);
  expect(textOf(events)).toBe('new');
  const kept = decodeMemory(memory ?? new Uint8Array())?.tasks[0]?.messages[0];
  expect(kept?.message.message).toMatchObject({ case: 'agentOutput', value: { text: 'new' } });
  expect(encoded((writer) => kept?.write(writer))).toEqual(new Uint8Array(pieces));
});

it('reads no figure beyond the message it is in', () => {
  // A figure of four bytes begins at the end of the one field, and what follows is the other.
  const end = finished(2, [10, Uint8Array.of(0x15)], [8, Uint8Array.of(0, 0, 0)]);
  const { events } = decodeAnswer([init(), actions(add('T', said())), end]);
  expect(events.at(-1)).toMatchObject({ type: 'finish' });
});

/** Whatever the fields around them hold, a text and a call come through. */
it('passes on text and calls beside any bytes', () => {
  const anyField = (numbers: readonly number[]) =>
    fc.tuple(
      fc.constantFrom(...numbers),
      fc.oneof(
        fc.uint8Array({ maxLength: 12 }),
        fc.nat(),
        fc.float().map((float) => ({ float })),
      ),
    );
  fc.assert(
    fc.property(
      fc.array(anyField([7, 8, 12, 13, 14, 29, 41]), { maxLength: 4 }),
      fc.array(anyField([8, 9, 10, 11, 13, 15]), { maxLength: 4 }),
      fc.array(anyField([2, 3, 4, 6, 8, 9]), { maxLength: 4 }),
      (inMessage, atEnd, inTask) => {
        const { events } = decodeAnswer(
          [
            init(),
            actions(createTask(task('T', ...inTask))),
            actions(add('T', said(...inMessage), mcpCall('c1', 'call-1', 'get_time', { a: 1 }))),
            finished(2, ...atEnd),
          ],
          { tools: ['get_time'] },
        );
        expect(events.at(-1)).toEqual({ type: 'finish', reason: 'tool-calls' });
      },
    ),
    { numRuns: 300 },
  );
});
