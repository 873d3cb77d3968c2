import type { EmulatedAbility } from '../../core/capabilities.ts';
import { AppError } from '../../core/errors.ts';
import type { CollectedTurn } from '../../core/protocol.ts';
import type { AskedMessage, AskedRequest, ResponseFormat, ToolChoice, TurnEvent } from '../../core/turn.ts';
import { isJsonObject, parseJson } from '../../lib/parse-json.ts';
import { checkableSchema, type SchemaChecker, SchemaUnusableError } from './json-schema.ts';

/** Something the client wants of the answer as a whole, which the upstream cannot be made to keep. */
export interface AnswerCheck {
  /** What of the client's wish is not checked, as paths. */
  readonly unchecked?: readonly string[];
  /** The request with the instructions to the model. */
  instruct(request: AskedRequest): AskedRequest;
  /** Judges an answer that came to its own end. Throws AppError when that cannot be done. */
  judge(answer: CollectedTurn): Promise<Verdict>;
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

/** What is checked of the whole answer to a request. Where anything is, the client sees nothing of it before. */
export function checksOf(
  { toolChoice, responseFormat }: AskedRequest,
  emulated: ReadonlySet<EmulatedAbility>,
  schemas: SchemaChecker,
  clientId: string,
): readonly AnswerCheck[] {
  const checks: AnswerCheck[] = [];
  if (emulated.has('toolChoice')) {
    const check = createCallCheck(toolChoice);
    if (check) checks.push(check);
  }
  if (responseFormat.type !== 'text' && (emulated.has('jsonObject') || emulated.has('jsonSchema'))) {
    checks.push(createJsonCheck(responseFormat, schemas, clientId));
  }
  return checks;
}

/** An answer as a stream that brings each kind of content in one piece. */
export function eventsOf({
  text,
  refusal = '',
  citations = [],
  metadata,
  reasoning,
  reasoningProof: proof,
  toolCalls,
  usage,
  finishReason,
  stopSequence,
}: CollectedTurn): TurnEvent[] {
  const events: TurnEvent[] = [];
  if (reasoning !== '') events.push({ type: 'reasoning-delta', text: reasoning });
  if (proof) events.push({ type: 'reasoning-proof', proof });
  if (text !== '') events.push({ type: 'text-delta', text });
  if (refusal !== '') events.push({ type: 'refusal-delta', text: refusal });
  for (const citation of citations) events.push({ type: 'citation', citation });
  for (const [index, { id, name, arguments: given }] of toolCalls.entries()) {
    events.push({ type: 'tool-call-start', index, id, name });
    events.push({ type: 'tool-call-delta', index, arguments: given });
    events.push({ type: 'tool-call-end', index });
  }
  if (usage) events.push({ type: 'usage', usage });
  if (metadata) events.push({ type: 'metadata', metadata });
  events.push({
    type: 'finish',
    reason: finishReason,
    ...(stopSequence === undefined ? {} : { stopSequence }),
  });
  return events;
}

/** The verdict of all checks on an answer that came to its end. Throws AppError. */
export async function judge(checks: readonly AnswerCheck[], answer: CollectedTurn): Promise<Verdict> {
  // One that was cut at a limit is known to be no whole one.
  if (answer.finishReason === 'length' || answer.finishReason === 'content-filter') return {};
  // A model that refuses would refuse again.
  if (answer.refusal) return {};
  let text: string | undefined;
  for (const check of checks) {
    const verdict = await check.judge(answer);
    if (verdict.fault) return verdict;
    text = verdict.text ?? text;
  }
  return text === undefined ? {} : { text };
}

/** The answer as the model gave it, and what is wrong. Calls it made anyway were not carried out. */
export function sentBack({ text, toolCalls }: CollectedTurn, { mend }: Fault): AskedMessage[] {
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

type JsonFormat = Exclude<ResponseFormat, { type: 'text' }>;

/**
 * An answer that has to be JSON. One that calls tools instead, or that was cut at the client's own stop sequence, is as
 * good.
 */
function createJsonCheck(format: JsonFormat, schemas: SchemaChecker, clientId: string): AnswerCheck {
  const param = format.type === 'json-schema' ? format.param : '';
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

/**
 * An answer that has to call a tool: any one, or a certain one and no other. The adapters tell the model so in their own
 * words. Undefined where a call is up to the model.
 */
function createCallCheck(choice: ToolChoice): AnswerCheck | undefined {
  if (choice.type !== 'required' && choice.type !== 'tool') return undefined;
  const fault = choice.type === 'required' ? noCall : notThatCall(choice.name);
  return {
    instruct: (request) => request,
    async judge({ toolCalls }) {
      const isAsAsked =
        toolCalls.length > 0 &&
        (choice.type === 'required' || toolCalls.every(({ name }) => name === choice.name));
      return isAsAsked ? {} : { fault };
    },
  };
}

const noCall: Fault = {
  mend: 'You called no tool, and this answer has to be a call. Call one of the tools now.',
  error: 'The model did not call a tool, as tool_choice asks, although it was told twice; try again.',
};

function notThatCall(name: string): Fault {
  return {
    mend: `This answer has to be a call of the tool ${JSON.stringify(name)}, and of no other. Call the tool ${JSON.stringify(name)} now.`,
    error: `The model did not call the tool ${JSON.stringify(name)}, as tool_choice asks, although it was told twice; try again.`,
  };
}
