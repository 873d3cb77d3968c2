import { createParser } from 'eventsource-parser';
import { AppError } from '../../core/errors.ts';
import type { TurnDecoder } from '../../core/protocol.ts';
import type { FinishReason, TurnEvent, TurnRequest } from '../../core/turn.ts';
import { isJsonObject, type JsonObject, parseJsonObject } from '../../lib/parse-json.ts';
import { classifyNamed, errorIn } from './classify-failure.ts';
import { ReasoningDetails } from './reasoning-details.ts';
import { readUsage } from './usage.ts';

/** One event may be this long, and one whole answer that long. */
export const maxEventBytes = 32 * 1024 * 1024;
export const maxAnswerBytes = 256 * 1024 * 1024;

export const finishReasons: Readonly<Record<string, FinishReason>> = {
  stop: 'stop',
  length: 'length',
  tool_calls: 'tool-calls',
  function_call: 'tool-calls',
  content_filter: 'content-filter',
};

interface OpenCall {
  /** Where the upstream's fragments say they belong. */
  readonly key: number;
  readonly index: number;
}

/** Reads a streamed answer for a client of another dialect. */
export function createDecoder({ tools }: Pick<TurnRequest, 'tools'>): TurnDecoder {
  const offered = new Set(tools.map(({ name }) => name));
  const calls: OpenCall[] = [];
  let events: TurnEvent[] = [];
  let isStarted = false;
  let isOver = false;
  let reason: string | undefined;
  let hasUsage = false;
  let answerBytes = 0;
  let details: ReasoningDetails | undefined;

  const parser = createParser({
    maxBufferSize: maxEventBytes,
    onEvent: ({ data }) => read(data),
    onError(error) {
      if (error.type === 'max-buffer-size-exceeded') fail(tooLong());
    },
  });
  const text = new TextDecoder();

  function read(data: string): void {
    if (isOver) return;
    if (data.trim() === '[DONE]') {
      if (reason === undefined && !isStarted) fail(noEnd());
      else finish();
      return;
    }
    // A malformed chunk within a sound stream is passed over.
    const chunk = parseJsonObject(data);
    if (!chunk) return;
    const error = errorIn(chunk);
    if (error) {
      fail(classifyNamed(error));
      return;
    }
    if (!isStarted) {
      isStarted = true;
      const { id } = chunk;
      events.push({ type: 'start', ...(typeof id === 'string' && id !== '' && { upstreamRequestId: id }) });
    }
    readChoice(firstOf(chunk['choices']));
    const usage = readUsage(chunk['usage']);
    if (usage) {
      hasUsage = true;
      events.push({ type: 'usage', usage });
    }
    // Usage comes last; some servers keep the connection open without saying that they are done.
    if (reason !== undefined && hasUsage) finish();
  }

  function readChoice(choice: JsonObject | undefined): void {
    const delta = choice?.['delta'] ?? choice?.['message'];
    if (isJsonObject(delta)) readDelta(delta);
    const given = choice?.['finish_reason'];
    if (typeof given === 'string' && given !== '') reason = given;
  }

  function readDelta(delta: JsonObject): void {
    if (delta['reasoning_details'] !== undefined) {
      details ??= new ReasoningDetails();
      details.add(delta['reasoning_details']);
    }
    const thought = textIn(delta['reasoning_content']) || textIn(delta['reasoning']);
    if (thought) events.push({ type: 'reasoning-delta', text: thought });
    const said = textIn(delta['content']) || textIn(delta['refusal']);
    if (said) {
      prove();
      events.push({ type: 'text-delta', text: said });
    }
    const fragments = delta['tool_calls'];
    if (Array.isArray(fragments))
      for (const fragment of fragments) if (isJsonObject(fragment)) readCall(fragment);
  }

  function readCall(fragment: JsonObject): void {
    const { index, id, function: called } = fragment;
    const { name, arguments: given } = isJsonObject(called) ? called : {};
    const call = callOf(index, id, name);
    if (!call) return;
    const piece = typeof given === 'string' ? given : isJsonObject(given) ? JSON.stringify(given) : '';
    if (piece !== '') events.push({ type: 'tool-call-delta', index: call.index, arguments: piece });
  }

  /** The call a fragment belongs to. Servers that send whole calls may leave the index out, or the id. */
  function callOf(index: unknown, id: unknown, name: unknown): OpenCall | undefined {
    const key = typeof index === 'number' ? index : undefined;
    const known =
      key === undefined
        ? typeof name === 'string' && name !== ''
          ? undefined
          : calls.at(-1)
        : calls.find((call) => call.key === key);
    if (known) return known;
    if (typeof name !== 'string' || name === '') return undefined;
    prove();
    const call = { key: key ?? calls.length, index: calls.length };
    calls.push(call);
    const given =
      typeof id === 'string' && id !== '' ? id : `call_${crypto.randomUUID().replaceAll('-', '')}`;
    events.push({ type: 'tool-call-start', index: call.index, id: given, name });
    if (!offered.has(name)) fail(undeclared(name));
    return call;
  }

  /** The reasoning before is whole. */
  function prove(): void {
    const proof = details?.proof;
    if (proof) events.push({ type: 'reasoning-proof', proof });
    details = undefined;
  }

  function finish(): void {
    isOver = true;
    prove();
    for (const { index } of calls) events.push({ type: 'tool-call-end', index });
    const told = finishReasons[reason ?? 'stop'] ?? 'stop';
    // Many servers say `stop` of an answer that calls.
    const isCall = calls.length > 0 && told === 'stop';
    events.push({ type: 'finish', reason: isCall ? 'tool-calls' : told });
  }

  function fail(error: AppError): void {
    if (isOver) return;
    isOver = true;
    events.push({ type: 'error', error });
  }

  function take(): readonly TurnEvent[] {
    const taken = events;
    events = [];
    return taken;
  }

  return {
    push(bytes) {
      if (isOver) return [];
      answerBytes += bytes.length;
      if (answerBytes > maxAnswerBytes) fail(tooLong());
      else parser.feed(text.decode(bytes, { stream: true }));
      return take();
    },
    end() {
      if (isOver) return [];
      // The last event may lack its blank line.
      parser.feed('\n\n');
      if (!isOver && reason !== undefined) finish();
      else fail(noEnd());
      return take();
    },
    memory: () => undefined,
  };
}

function firstOf(value: unknown): JsonObject | undefined {
  const first = Array.isArray(value) ? value[0] : undefined;
  return isJsonObject(first) ? first : undefined;
}

function textIn(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

export function noEnd(): AppError {
  return new AppError('upstream_protocol', "The upstream's answer ended without its end mark. Try again.");
}

/** The limit is ours, and the same request would meet it again. */
export function tooLong(): AppError {
  return new AppError('upstream_protocol', 'The upstream sent more than an answer can hold.', {
    fault: 'service',
    failover: 'no',
  });
}

function undeclared(name: string): AppError {
  return new AppError(
    'upstream_protocol',
    `The model called the tool ${JSON.stringify(name.slice(0, 64))}, which was not offered; try again.`,
    { fault: 'model', failover: 'no' },
  );
}
