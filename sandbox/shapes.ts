// Good answers in every shape the wire allows.
import { cutText } from './answer.ts';
import { rawField, rawVarint } from './schema.ts';
import {
  actions,
  add,
  answer,
  appendText,
  complete,
  completeUnlessCalls,
  finishBare,
  opening,
  type Script,
  text,
  thought,
} from './script.ts';
import type { Turn } from './turn.ts';
import type { Message } from './wire.ts';

export const plain: Script = complete(answer);

export const reasoning: Script = complete(function* (turn) {
  if (turn.wantsReasoning) yield* thought(turn, cutText(reasoningText(turn), 4));
  yield* answer(turn);
});

/** A good turn whose connection is never closed. */
export const lingering: Script = function* (turn) {
  yield* plain(turn);
  yield { kind: 'silence' };
};

/** A turn that says nothing and ends well. */
export const nothing: Script = completeUnlessCalls(() => []);

function reasoningText(turn: Turn): string {
  return `The user wrote ${[...turn.query].length} characters. I will repeat them.`;
}

export const slow: Script = function* (turn) {
  yield { kind: 'wait', ms: 3_000 };
  yield* plain(turn);
};

/** `tick 1 tick 2 ...`, 50 pieces over 10 s. */
export const drip: Script = completeUnlessCalls(function* (turn) {
  const message = turn.message({ agentOutput: { text: 'tick 1 ' } });
  yield actions(add(turn, message));
  for (let tick = 2; tick <= 50; tick++) {
    yield { kind: 'wait', ms: 200 };
    yield appendText(turn, message, `tick ${tick} `);
  }
  turn.outputLength += 50 * 7;
});

export const transaction: Script = completeUnlessCalls(function* (turn) {
  yield actions({ beginTransaction: {} });
  yield* text(turn, ['This is ', 'taken back.']);
  yield actions({ rollbackTransaction: {} });
  yield actions({ beginTransaction: {} });
  yield* answer(turn);
  yield actions({ commitTransaction: {} });
});

/** A sub-agent writes into a task of its own. `isLeftOpen`: it is still at work when the turn ends. */
export function subtask(isLeftOpen: boolean): Script {
  return completeUnlessCalls(function* (turn) {
    const taskId = `subtask-${turn.requestId}`;
    const toolCallId = `subagent-${turn.requestId}`;
    const inner: Message = { ...turn.message({ agentOutput: { text: 'Internal note' } }), taskId };
    yield actions(
      add(turn, turn.message({ toolCall: { toolCallId, subagent: { taskId, payload: 'opaque' } } })),
    );
    yield actions({ createTask: { task: { id: taskId, dependencies: { parentTaskId: turn.taskId } } } });
    yield actions({ addMessagesToTask: { taskId, messages: [inner] } });
    const patch = { id: inner.id ?? '', agentOutput: { text: ' that nobody outside sees.' } };
    yield actions({
      appendToMessageContent: { taskId, message: patch, mask: { paths: ['agent_output.text'] } },
    });
    if (!isLeftOpen) {
      yield actions(
        add(turn, turn.message({ toolCallResult: { toolCallId, subagent: { payload: 'opaque' } } })),
      );
    }
    yield* answer(turn);
  });
}

export const noUsage: Script = function* (turn) {
  yield* opening(turn);
  yield* answer(turn);
  yield finishBare({ done: {} });
};

/** What was said before the answer goes into a task of its own, and a summary takes its place. */
export const move: Script = completeUnlessCalls(function* (turn) {
  const notes = ['one', 'two'].map((payload) => turn.message({ serverEvent: { payload } }));
  const [first, last] = notes;
  yield actions(add(turn, ...notes));
  yield* text(turn, ['Before', ' the move.']);
  const dependencies = { parentTaskId: turn.taskId };
  yield actions({
    moveMessagesToNewTask: {
      sourceTaskId: turn.taskId,
      newTask: { id: `archive-${turn.requestId}`, description: 'What was said', dependencies },
      firstMessageId: first?.id ?? '',
      lastMessageId: last?.id ?? '',
      expectedMessageCount: notes.length,
      replacementMessages: [turn.message({ agentOutput: { text: 'A summary that nobody sees.' } })],
    },
  });
  yield* answer(turn);
});

export const refreshModels: Script = function* (turn) {
  yield* opening(turn);
  yield* answer(turn);
  yield { kind: 'event', event: { finished: { done: {}, shouldRefreshModelConfig: true } } };
};

/** Numbers no client can know, among the known ones, and patches that change nothing. */
export const unknownActions: Script = complete(function* (turn) {
  yield actions({ $unknowns: [rawField(99, 'a later action')] }, {});
  yield actions(
    add(turn, turn.message({})),
    add(turn, { ...turn.message({}), $unknowns: [rawField(77, 'kind')] }),
  );
  yield { kind: 'event', event: { clientActions: { actions: [] }, $unknowns: [rawField(88, 'later')] } };
  if (turn.calls.length > 0) yield* answer(turn);
  else {
    const [first = '', ...others] = cutText(turn.answer, 6);
    const agentOutput = { text: first, $unknowns: [rawField(66, 'nested')] };
    const message = turn.message({ agentOutput });
    yield actions(add(turn, message));
    yield actions({ updateTaskMessage: { taskId: turn.taskId, message, mask: { paths: ['no_such.path'] } } });
    for (const piece of others) yield appendText(turn, message, piece);
    turn.outputLength += turn.answer.length;
  }
});

/** Id, name, that it replaces another, and when the prompt's cache ends. */
function modelUsed({ model }: Turn): Uint8Array {
  const cacheExpiresAt = rawField(4, rawVarint(1, 1_800_000_000));
  return Buffer.concat([rawField(1, model), rawField(2, 'Sandbox'), rawVarint(3, 1), cacheExpiresAt]);
}

/** Everything a client is to keep or skip and never to show. */
export const extras: Script = complete(function* (turn) {
  yield actions({ showSuggestions: {} });
  yield actions({ updateTaskDescription: { taskId: turn.taskId, description: `Turn ${turn.requestId}` } });
  yield actions({ updateTaskSummary: { taskId: turn.taskId, summary: 'A summary.' } });
  const todoList = rawField(1, rawField(1, Buffer.concat([rawField(1, 'todo-1'), rawField(2, 'A todo')])));
  yield actions(
    add(
      turn,
      turn.message({ modelUsed: modelUsed(turn) }),
      // Memories that were fetched.
      turn.message({ $unknowns: [rawField(29, rawField(1, 'memory-1'))] }),
      turn.message({ serverEvent: { payload: 'opaque' } }),
      turn.message({ toolCall: { toolCallId: `server-${turn.requestId}`, server: { payload: 'opaque' } } }),
      turn.message({ $unknowns: [rawField(10, todoList)] }),
    ),
  );
  const result = { toolCallId: `server-${turn.requestId}`, server: { serializedResult: 'opaque' } };
  yield actions(add(turn, turn.message({ toolCallResult: result })));
  yield* answer(turn);
  yield actions({ updateTaskServerData: { taskId: turn.taskId, serverData: `after ${turn.requestId}` } });
});

export const update: Script = completeUnlessCalls(function* (turn) {
  const pieces = cutText(turn.answer, 6);
  const message = turn.message({ agentOutput: { text: pieces[0] ?? '' } });
  yield actions(add(turn, message));
  for (let end = 2; end <= pieces.length; end++) {
    const patch = { id: message.id ?? '', agentOutput: { text: pieces.slice(0, end).join('') } };
    yield actions({
      updateTaskMessage: { taskId: turn.taskId, message: patch, mask: { paths: ['agent_output.text'] } },
    });
  }
  turn.outputLength += turn.answer.length;
});

export const twoMessages: Script = completeUnlessCalls(function* (turn) {
  yield* text(turn, ['First', ' message.']);
  yield* answer(turn);
});

/** Characters of one to four bytes, a flag, a family and combining marks, one code point per piece. */
export const unicodeText = 'Grüße, Ελλάδα, 日本語, e\u0301, 🇳🇴, 👩‍👩‍👧‍👦, 👍🏽, \u202Bعربي\u202C. ';

export const unicode: Script = completeUnlessCalls((turn) => text(turn, [...unicodeText, ...turn.answer]));

/** What was said, and nothing else: for answers that have to be of some form. */
export const echo: Script = completeUnlessCalls((turn) => text(turn, cutText(turn.query, 3)));
