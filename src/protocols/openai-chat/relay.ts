import { AppError } from '../../core/errors.ts';
import type { RelayedRequest } from '../../core/protocol.ts';
import type { FinishReason } from '../../core/turn.ts';
import { isJsonObject, type JsonObject, parseJsonObject } from '../../lib/parse-json.ts';
import { errorIn, noEnd } from '../shared/failed-answer.ts';
import { classifyNamed } from '../shared/openai-failure.ts';
import { objectsIn, readUsage, textIn } from '../shared/read-answer.ts';
import { missingSignature } from '../shared/reasoning.ts';
import { editMembers, type ReadAnswer, type ReadEvent, type RelayTap, unreadable } from '../shared/relay.ts';
import { finishOf } from './decode-stream.ts';
import { unknownReasoning } from './reasoning-details.ts';

/**
 * The body of a relayed request: the client's own text with another model name and, where `asksForUsage`, the wish for usage at the
 * end of the stream.
 */
export function relayRequest(
  body: string,
  model: string,
  asksForUsage: boolean,
  { leavesProofsOut, fillsReasoning }: Pick<RelayedRequest, 'leavesProofsOut' | 'fillsReasoning'> = {},
): string {
  return editMembers(body, {
    model: () => JSON.stringify(model),
    ...(asksForUsage && { stream_options: withUsage }),
    ...((leavesProofsOut || fillsReasoning) && {
      messages: (given = '[]') =>
        JSON.stringify(
          objectsIn(JSON.parse(given)).map((message) => {
            const taken = leavesProofsOut ? withPlaceholder(withoutReasoning(message), model) : message;
            return fillsReasoning ? withReasoning(taken) : taken;
          }),
        ),
    }),
  });
}

function withoutReasoning({
  reasoning_details: _details,
  reasoning_content: _content,
  ...message
}: JsonObject): JsonObject {
  return message;
}

/** Most clients do not give back what Google signed beside a call, and Gemini 3 refuses the first call of an answer without it. */
function withPlaceholder(message: JsonObject, model: string): JsonObject {
  const [first, ...others] = objectsIn(message['tool_calls']);
  if (!first || !/gemini-(?:[3-9]|\d\d)/.test(model)) return message;
  const google = { thought_signature: missingSignature };
  return { ...message, tool_calls: [{ ...first, extra_content: { google } }, ...others] };
}

function withReasoning(message: JsonObject): JsonObject {
  const { role, reasoning_content: content } = message;
  return role !== 'assistant' || textIn(content) !== ''
    ? message
    : { ...message, reasoning_content: unknownReasoning };
}

function withUsage(options = '{}'): string {
  const value: unknown = JSON.parse(options);
  const others = typeof value === 'object' && value !== null ? value : {};
  return JSON.stringify({ ...others, include_usage: true });
}

export class ChatTap implements RelayTap {
  /** Usage, the finish, an error, the end mark. The names are cut so that they are found fast. */
  readonly relevant = /_reason"\s*:\s*"|usage"\s*:\s*\{|"error"|\[DONE\]/g;
  readonly endMark = 'data: [DONE]\n\n';
  readonly #hidesUsage: boolean;
  readonly #choices: number;
  readonly #ended = new Set<unknown>();
  #reason: FinishReason | undefined;

  /** `choices`: answers asked for. `hidesUsage`: the chunk with usage that the client did not ask for is taken out. */
  constructor(choices: number, hidesUsage = false) {
    this.#choices = choices;
    this.#hidesUsage = hidesUsage;
  }

  read(data: string): ReadEvent {
    if (data === '[DONE]') return { end: this.#reason ?? noEnd() };
    const chunk = data === '' ? undefined : parseJsonObject(data);
    const error = errorIn(chunk);
    if (error) return { end: classifyNamed(error) };
    const usage = readUsage(chunk?.['usage']);
    const choices = choicesOf(chunk);
    for (const choice of choices) {
      const finish = finishOf(choice);
      if (finish instanceof AppError) return { usage, end: finish };
      if (finish === undefined) continue;
      this.#reason = finish;
      this.#ended.add(choice['index']);
    }
    const isUsageAlone = usage !== undefined && choices.length === 0;
    return {
      usage,
      hasContent: choices.some(holdsContent),
      isHidden: this.#hidesUsage && isUsageAlone,
    };
  }

  /** Complete by its own word. */
  endWithoutMark(): FinishReason | undefined {
    return this.#ended.size >= this.#choices ? this.#reason : undefined;
  }
}

export function readAnswer(answer: JsonObject): ReadAnswer {
  const error = errorIn(answer);
  if (error) return classifyNamed(error);
  if (!Array.isArray(answer['choices'])) return unreadable();
  const finishes = choicesOf(answer).map((choice) => {
    const own = errorIn(choice);
    return own ? classifyNamed(own) : finishOf(choice);
  });
  const broken = finishes.find((finish) => finish instanceof AppError);
  if (broken) return broken;
  const [reason = 'stop'] = finishes.filter((finish) => typeof finish === 'string');
  return { reason, usage: readUsage(answer['usage']) };
}

function choicesOf(chunk: JsonObject | undefined): JsonObject[] {
  const choices = chunk?.['choices'];
  return Array.isArray(choices) ? choices.filter(isJsonObject) : [];
}

/** Text, reasoning, a call or sound: anything but the role. */
function holdsContent({ delta, text }: JsonObject): boolean {
  if (typeof text === 'string' && text !== '') return true;
  if (!isJsonObject(delta)) return false;
  return Object.entries(delta).some(
    ([name, value]) =>
      name !== 'role' && value !== null && value !== '' && !(Array.isArray(value) && value.length === 0),
  );
}
