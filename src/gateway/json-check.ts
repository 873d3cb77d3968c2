import { AppError } from '../core/errors.ts';
import type { AskedMessage, AskedRequest, ResponseFormat } from '../core/turn.ts';
import { isJsonObject, parseJson } from '../lib/parse-json.ts';
import { checkableSchema } from './checkable-schema.ts';
import type { AnswerCheck } from './checked-answer.ts';
import { type SchemaChecker, SchemaUnusableError } from './schema-checker.ts';

type JsonFormat = Exclude<ResponseFormat, { type: 'text' }>;

/**
 * An answer that has to be JSON. One that calls tools instead, or that was cut at the client's own stop sequence, is as
 * good.
 */
export function createJsonCheck(format: JsonFormat, schemas: SchemaChecker, clientId: string): AnswerCheck {
  const param = format.type === 'json-schema' ? `${format.param}.schema` : '';
  const checkable = format.type === 'json-schema' ? checkableSchema(format.schema) : undefined;

  async function faultOf({ value, text }: FoundJson): Promise<string | undefined> {
    if (checkable === undefined) {
      return isJsonObject(value) ? undefined : 'it is not a JSON object';
    }
    try {
      return await schemas.faultOf(checkable.schema, text, clientId);
    } catch (cause) {
      if (!(cause instanceof SchemaUnusableError)) throw cause;
      throw new AppError('invalid_request', `${param}: ${cause.message}; make it simpler.`, { param, cause });
    }
  }

  return {
    unchecked: (checkable?.unchecked ?? []).map((keyword) => `${param}.${keyword}`),
    instruct: (request) => withInstruction(request, format),
    async judge({ text, toolCalls, stopSequence }) {
      if (toolCalls.length > 0 || stopSequence !== undefined) return {};
      const found = readJson(text);
      const fault = found === undefined ? 'it is not valid JSON' : await faultOf(found);
      if (fault === undefined) return found === undefined ? {} : { text: found.text };
      return {
        fault: {
          mend: `That is not the JSON that was asked for: ${fault}. Send the whole answer again, mended, as JSON alone.`,
          error: `The model did not answer with the JSON that was asked for, twice: ${fault}.`,
        },
      };
    },
  };
}

function withInstruction(request: AskedRequest, format: JsonFormat): AskedRequest {
  const shape =
    format.type === 'json'
      ? 'Answer with one JSON object and nothing else: no words around it, no code fence.'
      : `Answer with one JSON value that follows this JSON schema, and nothing else: no words around it, no code fence.\n${JSON.stringify(format.schema)}`;
  const firstOther = request.messages.findIndex((message) => message.role !== 'system');
  const at = firstOther === -1 ? request.messages.length : firstOther;
  const instruction: AskedMessage = { role: 'system', parts: [{ type: 'text', text: shape }] };
  return {
    ...request,
    messages: [...request.messages.slice(0, at), instruction, ...request.messages.slice(at)],
  };
}

interface FoundJson {
  readonly value: unknown;
  readonly text: string;
}

/** The JSON of an answer, with or without the code fence that models like to put around it. */
function readJson(text: string): FoundJson | undefined {
  const candidate = withoutFence(text.trim());
  const value = parseJson(candidate);
  return value === undefined ? undefined : { value, text: candidate };
}

function withoutFence(text: string): string {
  if (text.length < 6 || !text.startsWith('```') || !text.endsWith('```')) return text;
  return text
    .slice(3, -3)
    .replace(/^json(?=\s)/i, '')
    .trim();
}
