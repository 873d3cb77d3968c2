import { AppError } from '../../core/errors.ts';
import type { FinishReason } from '../../core/turn.ts';
import { isJsonObject, type JsonObject, parseJson } from '../../lib/parse-json.ts';
import { missingSignature } from '../shared/reasoning.ts';
import { editMembers, type ReadAnswer, type ReadEvent, type RelayTap, unreadable } from '../shared/relay.ts';
import { classifyStatus, errorIn } from './classify-failure.ts';
import { blockReasonIn, candidatesIn, finishOf, partsIn, readUsage } from './decode-stream.ts';

/** The body of a request without what Google signed in it; the first call of an answer is refused without any signature. */
export function withoutSignatures(body: string): string {
  return editMembers(body, {
    contents: (given = '[]') => {
      const contents: unknown = JSON.parse(given);
      return JSON.stringify(Array.isArray(contents) ? contents.map(unsigned) : contents);
    },
  });
}

function unsigned(content: unknown): unknown {
  if (!isJsonObject(content) || !Array.isArray(content['parts'])) return content;
  let isFirstCall = true;
  const parts = content['parts'].map((part: unknown) => {
    if (!isJsonObject(part)) return part;
    const { thoughtSignature, thought_signature: other, ...rest } = part;
    const isCall = isJsonObject(part['functionCall'] ?? part['function_call']);
    const isNeeded = isCall && (isFirstCall || typeof (thoughtSignature ?? other) === 'string');
    if (isCall) isFirstCall = false;
    return isNeeded ? { ...rest, thoughtSignature: missingSignature } : rest;
  });
  return { ...content, parts };
}

/** A stream has no end mark but the reasons why its candidates ended: it is whole when its bytes end behind them. */
export class GeminiTap implements RelayTap {
  /** Usage, the finish, an error, a prompt that is not answered. */
  readonly relevant =
    /"(?:usageMetadata"\s*:\s*\{|finishReason"\s*:\s*"|error"\s*:\s*\{|blockReason"\s*:\s*")/g;
  readonly #candidates: number;
  readonly #ended = new Set<unknown>();
  #reason: FinishReason | undefined;
  #isBlocked = false;

  /** `candidates`: answers asked for. */
  constructor(candidates: number) {
    this.#candidates = candidates;
  }

  read(data: string): ReadEvent {
    const chunk = data === '' ? undefined : parseJson(data);
    const error = errorIn(chunk);
    if (error) return { end: classifyStatus(error) };
    if (!isJsonObject(chunk)) return {};
    const usage = readUsage(chunk['usageMetadata']);
    const candidates = candidatesIn(chunk);
    for (const candidate of candidates) {
      const finish = finishOf(candidate);
      if (finish === undefined) continue;
      // The reason is the client's to judge: it gets the answer as it is.
      this.#reason = finish instanceof AppError ? 'stop' : finish;
      this.#ended.add(candidate['index'] ?? 0);
    }
    const isBlocked = blockReasonIn(chunk) !== undefined;
    if (isBlocked) this.#isBlocked = true;
    const hasContent = isBlocked || candidates.some((candidate) => partsIn(candidate).some(holdsContent));
    return { usage, hasContent };
  }

  endWithoutMark(): FinishReason | undefined {
    if (this.#isBlocked) return 'content-filter';
    return this.#ended.size >= this.#candidates ? this.#reason : undefined;
  }
}

export function readAnswer(answer: JsonObject): ReadAnswer {
  const error = errorIn(answer);
  if (error) return classifyStatus(error);
  const usage = readUsage(answer['usageMetadata']);
  if (blockReasonIn(answer) !== undefined) return { reason: 'content-filter', usage };
  const candidates = candidatesIn(answer);
  if (candidates.length === 0) return unreadable();
  const [reason = 'stop'] = candidates.map(finishOf).filter((finish) => typeof finish === 'string');
  return { reason, usage };
}

/** Anything but an empty text. */
function holdsContent(part: JsonObject): boolean {
  return Object.entries(part).some(([name, value]) => name !== 'thought' && value !== '');
}
