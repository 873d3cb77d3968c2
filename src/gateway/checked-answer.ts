import { AppError } from '../core/errors.ts';
import type { AskedMessage, AskedRequest } from '../core/turn.ts';
import type { TurnOutput } from './attempt.ts';
import { createCallCheck } from './call-check.ts';
import { createHeldOutput, type HeldAnswer } from './held-output.ts';
import { createJsonCheck } from './json-check.ts';
import { runTurn, type Turn, type TurnDependencies, type TurnSummary } from './run-turn.ts';
import { sumUsage } from './sum-usage.ts';

/** Something the client wants of the answer as a whole, which the upstream cannot be made to keep. */
export interface AnswerCheck {
  /** What of the client's wish is not checked, as paths. */
  readonly unchecked?: readonly string[];
  /** The request with what the model has to be told. */
  instruct(request: AskedRequest): AskedRequest;
  /** Judges an answer that came to its own end. Throws AppError when that cannot be done. */
  judge(answer: HeldAnswer): Promise<Verdict>;
}

export interface Verdict {
  readonly fault?: Fault;
  /** What the client gets in place of the answer's text. */
  readonly text?: string;
}

export interface Fault {
  /** What the model is told to do better. */
  readonly mend: string;
  /** What the client is told when it did not. */
  readonly error: string;
}

/**
 * Carries a turn. An answer that has to be JSON, or to call a tool, is held until it is whole and looked at before the
 * client sees any of it. One that is not as asked is sent back once, with what is wrong; the second time it is an error.
 */
export async function runCheckedTurn(dependencies: TurnDependencies, asked: Turn): Promise<TurnSummary> {
  const checks = [
    createCallCheck(asked.request.toolChoice),
    createJsonCheck(asked.request.responseFormat, dependencies.schemas, asked.clientId),
  ].filter((check) => check !== undefined);
  if (checks.length === 0) return runTurn(dependencies, asked);
  const unchecked = checks.flatMap((check) => check.unchecked ?? []);
  const turn = unchecked.length === 0 ? asked : { ...asked, output: naming(asked.output, unchecked) };
  const request = checks.reduce((asked, check) => check.instruct(asked), turn.request);

  const first = createHeldOutput(turn.output);
  const summary = await runTurn(dependencies, { ...turn, request, output: first });
  const verdict = await judge(checks, first);
  if (verdict instanceof AppError) return refuse(turn, summary, verdict);
  if (verdict.fault === undefined) {
    first.passOn({ text: verdict.text });
    return summary;
  }

  turn.logger.info(
    { fault: verdict.fault.error },
    'the answer is not as asked; the model is told to mend it',
  );
  const second = createHeldOutput(turn.output);
  const mended = await runTurn(dependencies, {
    ...turn,
    request: { ...request, messages: [...request.messages, ...sentBack(first, verdict.fault)] },
    output: second,
  });
  const both: TurnSummary = {
    ...mended,
    usage: sumUsage(summary.usage, mended.usage),
    attempts: summary.attempts + mended.attempts,
  };
  const lasting = await judge(checks, second);
  if (lasting instanceof AppError) return refuse(turn, both, lasting);
  if (lasting.fault) return refuse(turn, both, new AppError('upstream_protocol', lasting.fault.error));
  second.passOn({ text: lasting.text, usage: sumUsage(first.usage, second.usage) });
  return both;
}

/** An output whose headers name what was not checked. */
function naming(output: TurnOutput, unchecked: readonly string[]): TurnOutput {
  return {
    isBuffered: output.isBuffered,
    onRoute: (route) => output.onRoute({ ...route, ignored: [...(route.ignored ?? []), ...unchecked] }),
    write: (events) => output.write(events),
    get resume() {
      return output.resume;
    },
    set resume(resume) {
      output.resume = resume;
    },
  };
}

async function judge(checks: readonly AnswerCheck[], answer: HeldAnswer): Promise<Verdict | AppError> {
  // An error is an answer of its own, and one that was cut at a limit is known to be no whole one.
  if (answer.finish === undefined || answer.finish === 'length' || answer.finish === 'content-filter')
    return {};
  try {
    let text: string | undefined;
    for (const check of checks) {
      const verdict = await check.judge(answer);
      if (verdict.fault) return verdict;
      text = verdict.text ?? text;
    }
    return text === undefined ? {} : { text };
  } catch (error) {
    return AppError.from(error);
  }
}

function refuse(turn: Turn, summary: TurnSummary, error: AppError): TurnSummary {
  turn.output.write([{ type: 'error', error }]);
  return { ...summary, error };
}

/** The answer as the model gave it, and what is wrong. Calls it made all the same were not carried out. */
function sentBack({ text, toolCalls }: HeldAnswer, { mend }: Fault): AskedMessage[] {
  return [
    {
      role: 'assistant',
      parts: [
        ...(text === '' ? [] : [{ type: 'text' as const, text }]),
        ...toolCalls.map((call) => ({ type: 'tool-call' as const, ...call })),
      ],
    },
    ...(toolCalls.length === 0
      ? []
      : [
          {
            role: 'tool' as const,
            parts: toolCalls.map(({ id }) => ({
              type: 'tool-result' as const,
              callId: id,
              text: 'This call was not carried out.',
              isError: true,
            })),
          },
        ]),
    { role: 'user', parts: [{ type: 'text', text: mend }] },
  ];
}
