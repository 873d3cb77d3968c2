// What the connection under a turn can do, mostly of HTTP/2. Over HTTP/1.1 each is the nearest there is.
import { constants } from 'node:http2';
import { early, late, only } from './faults.ts';
import { errorAfterText, errorAtOnce, type PlayableScenario, scenario, theAnswer } from './scenario.ts';
import { answer, finish, opening, type Script } from './script.ts';
import { plain } from './shapes.ts';

/** A graceful GOAWAY in the middle of the answer, which goes on. */
const goAway: Script = function* (turn) {
  yield* opening(turn);
  yield { kind: 'go-away' };
  yield* answer(turn);
  yield finish(turn);
};

const reset = (code: number) => late({ kind: 'reset', code });

export const transportScenarios: readonly PlayableScenario[] = [
  scenario('goaway', 'a graceful GOAWAY, and the answer goes on', theAnswer, goAway),
  scenario(
    'goaway-below',
    'partial text, a GOAWAY whose last stream is before this one, then nothing more',
    errorAfterText,
    late({ kind: 'go-away-below' }),
  ),
  scenario(
    'goaway-below-early',
    'a GOAWAY whose last stream is before this one, and no answer',
    errorAtOnce,
    only({ kind: 'go-away-below' }),
  ),
  scenario(
    'reset-no-error',
    'partial text, then RST_STREAM with NO_ERROR, which looks like an end',
    errorAfterText,
    reset(constants.NGHTTP2_NO_ERROR),
  ),
  scenario(
    'reset-cancel',
    'partial text, then RST_STREAM with CANCEL',
    errorAfterText,
    reset(constants.NGHTTP2_CANCEL),
  ),
  scenario(
    'reset-internal',
    'partial text, then RST_STREAM with INTERNAL_ERROR',
    errorAfterText,
    reset(constants.NGHTTP2_INTERNAL_ERROR),
  ),
  scenario(
    'reset-calm',
    'partial text, then RST_STREAM with ENHANCE_YOUR_CALM',
    errorAfterText,
    reset(constants.NGHTTP2_ENHANCE_YOUR_CALM),
  ),
  scenario(
    'reset-early',
    'init, then RST_STREAM with INTERNAL_ERROR',
    errorAtOnce,
    early({ kind: 'reset', code: constants.NGHTTP2_INTERNAL_ERROR }),
  ),
  scenario(
    'refused-stream',
    'RST_STREAM with REFUSED_STREAM instead of an answer',
    errorAtOnce,
    only({ kind: 'reset', code: constants.NGHTTP2_REFUSED_STREAM }),
  ),
  scenario(
    'session-destroyed',
    'partial text, then the connection is destroyed and every turn on it ends',
    errorAfterText,
    late({ kind: 'destroy-session' }),
  ),
  scenario(
    'session-destroyed-early',
    'the connection is destroyed instead of an answer',
    errorAtOnce,
    only({ kind: 'destroy-session' }),
  ),
  scenario(
    'frozen',
    'partial text, then a peer that is gone: nothing more on this connection, and no PING is answered',
    errorAfterText,
    late({ kind: 'freeze' }),
  ),
  scenario('frozen-early', 'a peer that is gone instead of an answer', errorAtOnce, only({ kind: 'freeze' })),
  {
    ...scenario(
      'stale',
      'the connection is closed as it is used again; a fresh one gets the answer',
      theAnswer,
      plain,
    ),
    closesReused: true,
  },
];
