// The newer ends of a stream: what was charged, reasons without a name, and optional fields that do not decode.
import { early, late } from './faults.ts';
import { errorAfterText, errorAtOnce, type PlayableScenario, scenario, theAnswer } from './scenario.ts';
import { rawField, rawVarint } from './schema.ts';
import {
  actions,
  add,
  answer,
  chargesOf,
  finishWith,
  init,
  opening,
  type Script,
  type Step,
} from './script.ts';
import type { Turn } from './turn.ts';

/** The whole answer, then this end. */
function ending(end: (turn: Turn) => Step): Script {
  return function* (turn) {
    yield* opening(turn);
    yield* answer(turn);
    yield end(turn);
  };
}

/** A length-delimited field whose content is no message: a tag without an end. */
const broken = (field: number): Uint8Array => rawField(field, Uint8Array.of(0xff, 0xff, 0xff));
/** The whole answer, then `done` with raw fields, and no other usage. */
const doneWith = (...fields: Uint8Array[]): Script =>
  ending(() => finishWith({ done: {}, $unknowns: fields }));

/** `reason 14`: told apart by nothing but its number, its words in field 3. */
const subscriptionEnd: Step = finishWith({
  $unknowns: [rawField(14, rawField(3, 'sandbox: your subscription has no requests left'))],
});
const unknownEnd = (field: number): Step => finishWith({ $unknowns: [rawField(field, '')] });

/** Optional fields of messages, actions and the first event that do not decode, around a whole answer. */
const brokenMessages: Script = function* (turn) {
  yield init(turn);
  if (turn.isFirst) yield actions({ createTask: { task: { id: turn.taskId, $unknowns: [broken(7)] } } });
  yield actions({ $unknowns: [broken(6)] }, { $unknowns: [broken(99)] });
  yield { kind: 'event', event: { clientActions: { actions: [] }, $unknowns: [broken(88)] } };
  yield actions(
    // Citations, memories, a todo list, the model used, an unknown kind of message.
    add(turn, { ...turn.message({}), $unknowns: [broken(8), broken(29)] }),
    add(turn, { ...turn.message({}), $unknowns: [broken(10)] }),
    add(turn, turn.message({ modelUsed: Uint8Array.of(0xff, 0xff, 0xff) })),
    add(turn, { ...turn.message({}), $unknowns: [broken(77)] }),
  );
  const message = turn.message({ agentOutput: { text: turn.answer } });
  const unknowns = [...(message.$unknowns ?? []), broken(8), broken(29)];
  yield actions(add(turn, { ...message, $unknowns: unknowns }));
  turn.outputLength += turn.answer.length;
  yield finishWith({ done: {} });
};

export const endScenarios: readonly PlayableScenario[] = [
  scenario(
    'charges',
    'the answer, and an end whose only usage is request_charges: two models, two categories, cents, cached tokens',
    theAnswer,
    ending((turn) => finishWith({ done: {}, ...chargesOf(turn) })),
  ),
  scenario(
    'conversation-usage',
    'the answer, and an end whose only usage is that of the conversation; its input is the latest call’s',
    theAnswer,
    ending((turn) => {
      const { totalCharges: _left, ...conversationUsageMetadata } = chargesOf(turn).conversationUsageMetadata;
      return finishWith({ done: {}, conversationUsageMetadata });
    }),
  ),
  scenario(
    'no-reason',
    'the answer, and an end without a reason',
    theAnswer,
    ending(() => finishWith({})),
  ),
  scenario('no-reason-empty', 'init, then an end without a reason', errorAtOnce, early(finishWith({}))),
  scenario(
    'reason-14',
    'init, then the reason 14 with a message in its field 3',
    'quota exhausted, before any content',
    early(subscriptionEnd),
  ),
  scenario('reason-14-late', 'partial text, then the reason 14', errorAfterText, late(subscriptionEnd)),
  scenario('reason-15', 'init, then a reason that has no name', errorAtOnce, early(unknownEnd(15))),
  scenario('reason-40', 'partial text, then a reason that has no name', errorAfterText, late(unknownEnd(40))),
  scenario(
    'unknown-end',
    'the answer, then done with fields of each wire type that have no name',
    theAnswer,
    doneWith(rawField(60, 'later'), rawVarint(61, 7)),
  ),
  scenario(
    'broken-charges',
    'the answer, then done with request_charges that do not decode',
    theAnswer,
    doneWith(broken(13)),
  ),
  scenario(
    'broken-token-usage',
    'the answer, then done with token_usage that does not decode',
    theAnswer,
    doneWith(broken(8)),
  ),
  scenario(
    'broken-usage',
    'the answer, then done with a cost and a usage of the conversation that do not decode',
    theAnswer,
    doneWith(broken(10), broken(11)),
  ),
  scenario(
    'broken-types',
    'the answer, then done with optional fields of another wire type',
    theAnswer,
    doneWith(rawVarint(13, 7), rawVarint(8, 7), rawVarint(10, 7), rawField(9, 'true'), rawVarint(11, 7)),
  ),
  scenario(
    'broken-messages',
    'optional fields that do not decode in every kind of message around the answer',
    theAnswer,
    brokenMessages,
  ),
];
