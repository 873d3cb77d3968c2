import type { AppError } from '../../../core/errors.ts';
import type { Endpoint, Outbound, RelayedRequest, UpstreamAnswer } from '../../../core/protocol.ts';
import type { Usage } from '../../../core/turn.ts';
import { type JsonObject, jsonBytes } from '../../../lib/parse-json.ts';
import { errorIn } from '../../shared/failed-answer.ts';
import { classifyFailure, classifyNamed } from '../../shared/openai-failure.ts';
import { readOpenaiLimits } from '../../shared/openai-limits.ts';
import { PassedAnswerDecoder } from '../../shared/passed-answer.ts';
import { readResponsesUsage, readUsage } from '../../shared/read-answer.ts';
import { editMembers, StreamRelay, WholeRelay } from '../../shared/relay.ts';
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
  if (endpoint !== 'completions')
    return { request, contentType, decoder: new PassedAnswerDecoder(readError, readFigures) };
  // They come in the chunks of Chat Completions, end mark and all.
  return isStream
    ? {
        request,
        contentType: 'text/event-stream',
        decoder: new StreamRelay(new ChatTap(choices)),
      }
    : { request, contentType, decoder: new WholeRelay(readAnswer) };
}

function readError(answer: JsonObject): AppError | undefined {
  const error = errorIn(answer);
  return error && classifyNamed(error);
}

/** Figures in the words of either of OpenAI's dialects. */
function readFigures(value: JsonObject): Usage | undefined {
  return readUsage(value) ?? readResponsesUsage(value);
}
