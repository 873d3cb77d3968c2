import type { Endpoint, Outbound, RelayedRequest, UpstreamAnswer } from '../../../core/protocol.ts';
import { classifyFailure } from '../../shared/openai-failure.ts';
import { readOpenaiLimits } from '../../shared/openai-limits.ts';
import { editMembers, StreamRelay, WholeRelay } from '../../shared/relay.ts';
import { ChatTap, readAnswer } from '../relay.ts';
import { endpoints } from './endpoints.ts';
import { withField } from './form-data.ts';
import { PassedAnswerDecoder } from './passed-answer.ts';

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
      : Buffer.from(editMembers(body, { model: () => JSON.stringify(model) })),
  } as const;
  if (endpoint !== 'completions') return { request, contentType, decoder: new PassedAnswerDecoder() };
  // They come in the chunks of Chat Completions, end mark and all.
  return isStream
    ? {
        request,
        contentType: 'text/event-stream',
        decoder: new StreamRelay(new ChatTap({ hidesUsage: false, choices })),
      }
    : { request, contentType, decoder: new WholeRelay(readAnswer) };
}
