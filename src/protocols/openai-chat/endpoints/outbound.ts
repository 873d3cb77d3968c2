import type {
  Endpoint,
  Outbound,
  RelayedRequest,
  TurnDecoder,
  UpstreamAnswer,
} from '../../../core/protocol.ts';
import type { TurnEvent, Usage } from '../../../core/turn.ts';
import { jsonBytes, parseJsonObject } from '../../../lib/parse-json.ts';
import { errorIn, maxAnswerBytes, tooLong } from '../../shared/failed-answer.ts';
import { classifyFailure, classifyNamed } from '../../shared/openai-failure.ts';
import { readOpenaiLimits } from '../../shared/openai-limits.ts';
import { readResponsesUsage, readUsage } from '../../shared/read-answer.ts';
import { editMembers, StreamRelay, unreadable, WholeRelay } from '../../shared/relay.ts';
import { ChatTap, readAnswer } from '../relay.ts';
import { endpoints } from './endpoints.ts';
import { withField } from './form-data.ts';

/** Passes requests for one endpoint on. Nothing is translated to it. */
export function createEndpointOutbound(endpoint: Endpoint, now: () => number): Outbound {
  return {
    contentType: 'application/json',
    capabilities: new Set(),
    images: { maxCount: 0 },
    open() {
      throw new Error(`Nothing is translated to ${endpoint}.`);
    },
    relay: { dialect: endpoint, open: (request, model) => openEndpoint(endpoint, request, model) },
    classifyFailure: (response) => classifyFailure(response, now(), endpoint),
    readLimits: readOpenaiLimits,
  };
}

function openEndpoint(
  endpoint: Endpoint,
  { body, form, isStream, choices }: RelayedRequest,
  model: string,
): UpstreamAnswer {
  const { path, contentType } = endpoints[endpoint];
  const request = {
    method: 'POST',
    path,
    headers: { 'content-type': form?.contentType ?? 'application/json' },
    body: form
      ? withField(form, 'model', model)
      : jsonBytes(editMembers(body, { model: () => JSON.stringify(model) })),
  } as const;
  if (endpoint !== 'completions') return { request, contentType, decoder: new PassedAnswerDecoder() };
  // They come in the chunks of Chat Completions, end mark and all.
  return isStream
    ? {
        request,
        contentType: 'text/event-stream',
        decoder: new StreamRelay(new ChatTap(choices)),
      }
    : { request, contentType, decoder: new WholeRelay(readAnswer) };
}

/** An error under status 200 is no larger. */
const mostRead = 64 * 1024;
/** The figures stand at the end of an answer, which may hold very many numbers. */
const tailBytes = 4 * 1024;
const usagePattern = /"usage"\s*:\s*(\{(?:[^{}]|\{[^{}]*\})*\})/g;

/**
 * Passes an answer on whose bytes are the upstream's affair: sound and events as they come, JSON once it is whole, so that until then
 * another account may answer.
 */
export class PassedAnswerDecoder implements TurnDecoder {
  #parts: Uint8Array[] = [];
  #isJson: boolean | undefined;
  #bytes = 0;
  #isOver = false;

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
      const error = errorIn(answer);
      if (!answer || error) return this.#failed(error ? classifyNamed(error) : unreadable());
    } else if (
      !whole
        .toString('latin1', whole.length - 16)
        .trimEnd()
        .endsWith('}')
    ) {
      return this.#failed(unreadable());
    }
    const usage = usageIn(whole.toString('utf8', Math.max(0, whole.length - tailBytes)));
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

  #failed(error: Extract<TurnEvent, { type: 'error' }>['error']): TurnEvent[] {
    this.#isOver = true;
    return [{ type: 'error', error }];
  }
}

function usageIn(tail: string): Usage | undefined {
  const last = [...tail.matchAll(usagePattern)].at(-1)?.[1];
  const value = last === undefined ? undefined : parseJsonObject(last);
  return readUsage(value) ?? readResponsesUsage(value);
}
