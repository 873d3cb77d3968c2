import { AppError } from '../../core/errors.ts';
import type { TurnDecoder } from '../../core/protocol.ts';
import type { TurnEvent, Usage } from '../../core/turn.ts';
import { type JsonObject, jsonBytes, parseJsonObject } from '../../lib/parse-json.ts';
import { maxAnswerBytes, tooLong } from './failed-answer.ts';
import { unreadable } from './relay.ts';

type ReadError = (answer: JsonObject) => AppError | undefined;
/** Of the object with an answer's figures. */
type ReadFigures = (figures: JsonObject) => Usage | undefined;

/** An error under status 200 is no larger. */
const mostRead = 64 * 1024;
/** The figures stand at the end of an answer, which may hold very many numbers. */
const tailBytes = 4 * 1024;
const usagePattern = /"usage(?:Metadata)?"\s*:\s*(\{(?:[^{}]|\{[^{}]*\})*\})/g;

/**
 * Passes an answer on whose bytes are the upstream's affair: sound and events as they come, JSON once it is whole, so that until then
 * another account may answer.
 */
export class PassedAnswerDecoder implements TurnDecoder {
  readonly #readError: ReadError;
  readonly #readFigures: ReadFigures;
  #parts: Uint8Array[] = [];
  #isJson: boolean | undefined;
  #bytes = 0;
  #isOver = false;

  constructor(readError: ReadError, readFigures: ReadFigures) {
    this.#readError = readError;
    this.#readFigures = readFigures;
  }

  push(bytes: Uint8Array): readonly TurnEvent[] {
    if (this.#isOver || bytes.length === 0) return [];
    this.#bytes += bytes.length;
    if (this.#bytes > maxAnswerBytes) return this.#failed(tooLong());
    this.#isJson ??= /^\s*[{[]/.test(Buffer.from(bytes.subarray(0, 32)).toString('latin1'));
    if (!this.#isJson) return [{ type: 'passed', bytes }];
    this.#parts.push(bytes);
    return [];
  }

  end(): readonly TurnEvent[] {
    if (this.#isOver) return [];
    if (!this.#isJson) return this.#bytes === 0 ? this.#failed(unreadable()) : this.#finished();
    const whole = Buffer.concat(this.#parts);
    this.#parts = [];
    if (whole.length <= mostRead) {
      const answer = parseJsonObject(whole);
      const error = answer ? this.#readError(answer) : unreadable();
      if (error) return this.#failed(error);
    } else if (
      !whole
        .toString('latin1', whole.length - 16)
        .trimEnd()
        .endsWith('}')
    ) {
      return this.#failed(unreadable());
    }
    const figures = figuresIn(whole.toString('utf8', Math.max(0, whole.length - tailBytes)));
    const usage = figures && this.#readFigures(figures);
    return this.#finished(
      { type: 'passed', bytes: whole },
      ...(usage ? [{ type: 'usage', usage } as const] : []),
    );
  }

  memory(): undefined {}

  #finished(...events: TurnEvent[]): TurnEvent[] {
    this.#isOver = true;
    return [...events, { type: 'finish', reason: 'stop' }];
  }

  #failed(error: AppError): TurnEvent[] {
    this.#isOver = true;
    return [{ type: 'error', error }];
  }
}

function figuresIn(tail: string): JsonObject | undefined {
  const last = [...tail.matchAll(usagePattern)].at(-1)?.[1];
  return last === undefined ? undefined : parseJsonObject(last);
}

/** An answer in the client's own dialect, made of one in another. An error: it is no answer. */
export type Translate = (
  answer: JsonObject,
) => { readonly body: object; readonly usage: Usage | undefined } | AppError;

/** Passes a whole answer of another dialect on, translated. */
export class TranslatedAnswerDecoder implements TurnDecoder {
  readonly isShownAtEnd = true;
  readonly #translate: Translate;
  readonly #parts: Uint8Array[] = [];
  #bytes = 0;

  constructor(translate: Translate) {
    this.#translate = translate;
  }

  push(bytes: Uint8Array): readonly TurnEvent[] {
    this.#bytes += bytes.length;
    if (this.#bytes > maxAnswerBytes) return [{ type: 'error', error: tooLong() }];
    this.#parts.push(bytes);
    return [];
  }

  end(): readonly TurnEvent[] {
    const answer = parseJsonObject(Buffer.concat(this.#parts));
    const translated = answer ? this.#translate(answer) : unreadable();
    if (translated instanceof AppError) return [{ type: 'error', error: translated }];
    const { body, usage } = translated;
    return [
      { type: 'passed', bytes: jsonBytes(JSON.stringify(body)) },
      ...(usage ? [{ type: 'usage', usage } as const] : []),
      { type: 'finish', reason: 'stop' },
    ];
  }

  memory(): undefined {}
}
