import { type Schema, Validator } from '@cfworker/json-schema';
import { AppError } from '../core/errors.ts';
import type { AskedRequest, Message, ResponseFormat, TurnEvent, Usage } from '../core/turn.ts';
import type { TurnOutput } from './attempt.ts';
import { runTurn, type Turn, type TurnDependencies, type TurnSummary } from './run-turn.ts';

type JsonFormat = Exclude<ResponseFormat, { type: 'text' }>;

/**
 * Carries a turn whose answer has to be JSON, for an upstream that has no such setting: by instruction, and by looking
 * at the answer before the client sees any of it. One that is not as asked is sent back once, with what is wrong. An
 * answer that calls tools, or that was cut at a limit, is passed on as it is.
 */
export async function runTurnInFormat(dependencies: TurnDependencies, turn: Turn): Promise<TurnSummary> {
  const { responseFormat: format } = turn.request;
  if (format.type === 'text') return runTurn(dependencies, turn);
  const request = withInstruction(turn.request, format);
  const first = createHeldOutput(turn.output);
  const summary = await runTurn(dependencies, { ...turn, request, output: first });
  const fault = first.fault(format);
  if (fault === undefined) {
    first.passOn(undefined);
    return summary;
  }
  turn.logger.info({ fault }, 'the answer is not the JSON that was asked for; the model is asked to mend it');
  const second = createHeldOutput(turn.output);
  const mended = await runTurn(dependencies, {
    ...turn,
    request: { ...request, messages: [...request.messages, ...repair(first.text, fault)] },
    output: second,
  });
  const usage = sum(first.usage, second.usage);
  const lasting = second.fault(format);
  if (lasting === undefined) second.passOn(usage);
  const error =
    lasting === undefined
      ? mended.error
      : new AppError(
          'upstream_protocol',
          `The model did not answer with the JSON that was asked for, twice: ${lasting}.`,
        );
  if (lasting !== undefined && error) turn.output.write([{ type: 'error', error }]);
  return { ...mended, error, usage, attempts: summary.attempts + mended.attempts };
}

/** Throws AppError `invalid_request` naming `param` when a schema is none. */
export function checkSchema(schema: unknown, param: string): void {
  try {
    // Following every reference once finds those that lead nowhere.
    new Validator(schema as Schema, '2020-12').validate({});
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : 'it cannot be read';
    throw new AppError('invalid_request', `${param}: is no JSON schema that can be checked (${reason}).`, {
      param,
      cause,
    });
  }
}

function withInstruction(request: AskedRequest, format: JsonFormat): AskedRequest {
  const shape =
    format.type === 'json'
      ? 'Answer with one JSON object and nothing else: no words around it, no code fence.'
      : `Answer with one JSON value that follows this JSON schema, and nothing else: no words around it, no code fence.\n${JSON.stringify(format.schema)}`;
  const firstOther = request.messages.findIndex((message) => message.role !== 'system');
  const at = firstOther === -1 ? request.messages.length : firstOther;
  const instruction: Message = { role: 'system', parts: [{ type: 'text', text: shape }] };
  return {
    ...request,
    messages: [...request.messages.slice(0, at), instruction, ...request.messages.slice(at)],
  };
}

function repair(answer: string, fault: string): Message[] {
  return [
    { role: 'assistant', parts: [{ type: 'text', text: answer }] },
    {
      role: 'user',
      parts: [
        {
          type: 'text',
          text: `That is not the JSON that was asked for: ${fault}. Send the whole answer again, mended, as JSON alone.`,
        },
      ],
    },
  ];
}

interface HeldOutput extends TurnOutput {
  readonly text: string;
  readonly usage: Usage | undefined;
  /** What keeps the answer from being as asked, in words for the model; undefined when nothing does. */
  fault(format: JsonFormat): string | undefined;
  /** Sends what was held; `usage` stands in for its own. */
  passOn(usage: Usage | undefined): void;
}

/** Holds an answer back until it is whole. */
function createHeldOutput(output: TurnOutput): HeldOutput {
  let events: TurnEvent[] = [];
  let json: string | undefined;

  const last = () => events[events.length - 1];
  const held: HeldOutput = {
    isBuffered: true,
    resume: undefined,
    onRoute(route) {
      events = [];
      output.onRoute(route);
    },
    write(batch) {
      events.push(...batch);
      return true;
    },
    get text() {
      return events.map((event) => (event.type === 'text-delta' ? event.text : '')).join('');
    },
    get usage() {
      return events.find((event) => event.type === 'usage')?.usage;
    },
    fault(format) {
      const end = last();
      // An error, a call of tools or a cut is its own answer.
      if (end?.type !== 'finish' || end.reason !== 'stop') return undefined;
      const found = readJson(held.text);
      if (found === undefined) return 'it is not valid JSON';
      const fault = faultOf(found.value, format);
      if (fault === undefined) json = found.text;
      return fault;
    },
    passOn(usage) {
      const passed = events.filter(
        (event) => json === undefined || (event.type !== 'text-delta' && event.type !== 'usage'),
      );
      const end = passed.pop();
      if (end === undefined) return;
      const given = usage ?? held.usage;
      if (json !== undefined) {
        passed.push({ type: 'text-delta', text: json });
        if (given) passed.push({ type: 'usage', usage: given });
      }
      output.write([...passed, end]);
    },
  };
  return held;
}

/** The JSON of an answer, with or without the code fence that models like to put around it. */
function readJson(text: string): { readonly value: unknown; readonly text: string } | undefined {
  const fenced = /^\s*```(?:json)?\s*([\s\S]*?)\s*```\s*$/i.exec(text)?.[1];
  const candidate = (fenced ?? text).trim();
  try {
    return { value: JSON.parse(candidate) as unknown, text: candidate };
  } catch {
    return undefined;
  }
}

function faultOf(value: unknown, format: JsonFormat): string | undefined {
  if (format.type === 'json') {
    const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
    return isObject ? undefined : 'it is not a JSON object';
  }
  const result = new Validator(format.schema as Schema, '2020-12', false).validate(value);
  if (result.valid) return undefined;
  return result.errors
    .slice(-3)
    .map(({ instanceLocation, error }) => `${instanceLocation}: ${error}`)
    .join('; ');
}

function sum(one: Usage | undefined, other: Usage | undefined): Usage | undefined {
  if (one === undefined || other === undefined) return one ?? other;
  const credits = (one.credits ?? 0) + (other.credits ?? 0);
  return {
    inputTokens: one.inputTokens + other.inputTokens,
    outputTokens: one.outputTokens + other.outputTokens,
    cachedInputTokens: (one.cachedInputTokens ?? 0) + (other.cachedInputTokens ?? 0),
    reasoningTokens: (one.reasoningTokens ?? 0) + (other.reasoningTokens ?? 0),
    ...(credits === 0 ? {} : { credits }),
    ...(one.isEstimated || other.isEstimated ? { isEstimated: true } : {}),
  };
}
