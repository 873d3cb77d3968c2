import type { AnyImage, AskedMessage, AssistantPart, ToolResultPart } from '../../core/turn.ts';
import { isJsonObject, type JsonObject } from '../../lib/parse-json.ts';
import { MadeCalls } from '../shared/calls.ts';
import { filePart, imageFromBase64, imageFromUrl } from '../shared/files.ts';
import {
  argumentsText,
  ContentNotes,
  type DecodedMessages,
  decodedMessages,
  type InputPart,
  noteMessage,
  type Place,
  type ReadEntry,
  readContent,
  readEntries,
  toolResult,
  within,
} from '../shared/read-messages.ts';
import {
  type Content,
  content as contentSchema,
  type FunctionResponse,
  type Part,
  part as partSchema,
  providerParts,
  type ResponsePart,
  responsePart,
} from './schema.ts';
import { signedReasoning } from './thought-signatures.ts';

/** Throws AppError `invalid_request` naming what the user has just sent and cannot be shown. */
export function decodeContents(contents: readonly unknown[]): DecodedMessages {
  const decoder = new ContentDecoder();
  const placeAt = (index: number, isJustSent: boolean): Place => ({ path: `contents.${index}`, isJustSent });
  const entries = readEntries(contents, contentSchema, contents.map(roleOf), decoder.notes, placeAt);
  const messages = withWholeAnswers(entries.flatMap((entry) => decoder.decode(entry)));
  return decodedMessages(messages, decoder.notes);
}

class ContentDecoder {
  readonly notes = new ContentNotes();
  readonly #calls = new MadeCalls();
  readonly #callIds = new Set<string>();

  decode(entry: ReadEntry<Content>): AskedMessage[] {
    const { value: content, place, isNew } = entry;
    if (content === undefined) return [noteMessage(entry)];
    const at = within(place, 'parts');
    if (content.role === 'model') return [{ role: 'assistant', parts: this.#modelParts(content.parts, at) }];
    return this.#userMessages(content.parts, at, isNew);
  }

  /** Results of functions come first; this dialect has them in contents of the user. */
  #userMessages(parts: unknown, place: Place, isNew: boolean): AskedMessage[] {
    const results: ToolResultPart<AnyImage>[] = [];
    const others = readContent(this.notes, parts, partSchema, place, (part, at) => {
      if (!part.functionResponse) return this.#inputParts(part, at);
      results.push(this.#result(part.functionResponse, within(at, 'functionResponse'), isNew));
      return [];
    });
    if (results.length === 0) return [{ role: 'user', parts: others }];
    return [
      { role: 'tool', parts: results },
      ...(others.length > 0 ? [{ role: 'user' as const, parts: others }] : []),
    ];
  }

  #inputParts(part: Part, place: Place): readonly InputPart[] {
    const { text, inlineData, fileData } = part;
    if (inlineData || fileData) return [this.#filePart({ inlineData, fileData }, place)];
    this.#ignoreProviderParts(part);
    return typeof text === 'string' ? [{ type: 'text', text }] : [];
  }

  /** What is called an image is shown or refused as one; all else goes by its bytes. */
  #filePart({ inlineData, fileData }: ResponsePart, place: Place): InputPart {
    if (inlineData) {
      const { mimeType, data, displayName: name } = inlineData;
      const field = 'inlineData';
      if (mimeType?.startsWith('image/') && typeof data === 'string') {
        return this.notes.shown(imageFromBase64(data, `${place.path}.${field}.data`, field), place, field);
      }
      return filePart({ data, name, dataField: `${field}.data`, field }, this.notes, place, field);
    }
    const { mimeType, fileUri, displayName: name } = fileData ?? {};
    const field = 'fileData';
    if (fileUri && (!mimeType || mimeType.startsWith('image/'))) {
      const param = `${place.path}.${field}.fileUri`;
      return this.notes.shown(imageFromUrl(fileUri, param, `${field}.fileUri`), place, field);
    }
    return filePart(
      { data: undefined, name, dataField: `${field}.fileUri`, field },
      this.notes,
      place,
      field,
    );
  }

  #result(
    { id, name, response, parts }: FunctionResponse,
    place: Place,
    isNew: boolean,
  ): ToolResultPart<AnyImage> {
    const advice = 'send the content of the model with the functionCall, too';
    // Some clients make up ids for their results of calls that had none.
    const isKnown = typeof id === 'string' && this.#callIds.has(id);
    const callId = isKnown
      ? this.#calls.answered(id, { param: `${place.path}.id`, isNew, advice })
      : this.#calls.answeredByName(name, { param: `${place.path}.name`, isNew, advice });
    const files = readContent(
      this.notes,
      parts ?? null,
      responsePart,
      // What a tool brought is no fault of the user.
      { path: `${place.path}.parts`, isJustSent: false },
      (part, at) => [this.#filePart(part, at)],
    );
    const { text, isError } = outcomeOf(isJsonObject(response) ? response : {});
    return toolResult(callId, [{ type: 'text', text }, ...files], isError);
  }

  #modelParts(parts: unknown, place: Place): AssistantPart[] {
    return readContent(this.notes, parts ?? null, partSchema, place, (part) => this.#modelPart(part));
  }

  #modelPart(part: Part): AssistantPart[] {
    const { text, thought, thoughtSignature, functionCall } = part;
    const signed = thoughtSignature ? [signedReasoning(thoughtSignature)] : [];
    if (functionCall) {
      const { id, name, args } = functionCall;
      const callId = this.#calls.add(id, name);
      this.#callIds.add(callId);
      return [...signed, { type: 'tool-call', id: callId, name, arguments: argumentsText(args) }];
    }
    if (thought === true) return [{ type: 'reasoning', text: text ?? '' }, ...signed];
    this.#ignoreProviderParts(part);
    return text ? [...signed, { type: 'text', text }] : signed;
  }

  #ignoreProviderParts(part: Part): void {
    for (const kind of providerParts) if (part[kind]) this.notes.ignore(`contents.parts.${kind}`);
  }
}

/** Clients send back the pieces of a stream as they came: as contents of the model one after another, with a bit of the answer each. */
function withWholeAnswers(messages: readonly AskedMessage[]): AskedMessage[] {
  const whole: AskedMessage[] = [];
  let answer: AssistantPart[] | undefined;
  for (const message of messages) {
    if (message.role !== 'assistant') {
      answer = undefined;
      whole.push(message);
      continue;
    }
    if (answer === undefined) {
      answer = [];
      whole.push({ role: 'assistant', parts: answer });
    }
    for (const part of message.parts) join(answer, part);
  }
  return whole;
}

/** Text with text, thoughts with thoughts; a signature proves the thoughts that stand directly before it. */
function join(answer: AssistantPart[], part: AssistantPart): void {
  const last = answer.at(-1);
  if (part.type === 'text' && last?.type === 'text') {
    answer[answer.length - 1] = { ...last, text: last.text + part.text };
  } else if (part.type === 'reasoning' && last?.type === 'reasoning' && !last.proof) {
    // A signature of ours has all that it proves.
    const text = part.proof ? part.text || last.text : last.text + part.text;
    answer[answer.length - 1] = { ...part, text };
  } else answer.push(part);
}

/** By Google's convention `output` is what the function brought and `error` why it failed; otherwise it is the whole object. */
function outcomeOf(response: JsonObject): { readonly text: string; readonly isError: boolean } {
  const { output, error } = response;
  const isError = error !== undefined && error !== null && output === undefined;
  const said = isError ? error : (output ?? response);
  return { text: typeof said === 'string' ? said : JSON.stringify(said), isError };
}

function roleOf(content: unknown): string | undefined {
  const { role, parts } = (content ?? {}) as { readonly role?: unknown; readonly parts?: unknown };
  if (role === 'model') return 'assistant';
  if (role === 'function') return 'tool';
  const isResult = (part: unknown) => isJsonObject(part) && isJsonObject(part['functionResponse']);
  return Array.isArray(parts) && parts.some(isResult) ? 'tool' : 'user';
}
