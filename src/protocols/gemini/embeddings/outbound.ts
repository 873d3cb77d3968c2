import { type AppError, refused } from '../../../core/errors.ts';
import type { Dialect, EmbedCall, Outbound, Relay, UpstreamAnswer } from '../../../core/protocol.ts';
import type { Usage } from '../../../core/turn.ts';
import { type JsonObject, jsonBytes, parseJsonObject } from '../../../lib/parse-json.ts';
import { PassedAnswerDecoder, type Translate, TranslatedAnswerDecoder } from '../../shared/passed-answer.ts';
import { countIn, objectsIn } from '../../shared/read-answer.ts';
import { editMembers, unreadable } from '../../shared/relay.ts';
import { classifyFailure, classifyStatus, errorIn } from '../classify-failure.ts';
import { pathOf, resourceOf } from '../outbound.ts';
import { embedCalls } from './inbound.ts';

/** Embeddings of Google's API: its own two calls are passed on, and OpenAI's is translated to the second. */
export function createEmbedOutbounds(now: () => number): readonly Outbound[] {
  const outboundOf = (dialect: Dialect, open: Relay['open'], answers: Dialect = dialect): Outbound => ({
    contentType: 'application/json',
    capabilities: new Set(),
    images: { maxCount: 0 },
    open() {
      throw new Error(`Nothing is translated to ${dialect}.`);
    },
    relay: { dialect, open },
    classifyFailure: (response) => classifyFailure(response, now(), answers),
  });
  return [
    outboundOf('embed_content', ({ body }, model) => passed('embed_content', body, model)),
    outboundOf('batch_embed_contents', ({ body }, model) => passed('batch_embed_contents', body, model)),
    outboundOf('embeddings', ({ body }, model) => ofOpenai(parseJsonObject(body) ?? {}, model), 'gemini'),
  ];
}

/** Google refuses a body that names another model than the path. */
function passed(call: EmbedCall, given: string, model: string): UpstreamAnswer {
  const name = resourceOf(model);
  const isNamed = /"model"\s*:/.test(given);
  const body =
    call === 'batch_embed_contents'
      ? editMembers(given, {
          requests: (requests = '[]') =>
            JSON.stringify(objectsIn(JSON.parse(requests)).map((request) => ({ ...request, model: name }))),
        })
      : isNamed
        ? editMembers(given, { model: () => JSON.stringify(name) })
        : given;
  return {
    request: requestOf(call, model, body),
    decoder: new PassedAnswerDecoder(readError, readFigures),
  };
}

function requestOf(call: EmbedCall, model: string, body: string): UpstreamAnswer['request'] {
  return {
    method: 'POST',
    path: pathOf(model, embedCalls[call]),
    headers: { 'content-type': 'application/json', accept: 'application/json' },
    body: jsonBytes(body),
  };
}

function ofOpenai({ input, dimensions, encoding_format: format }: JsonObject, model: string): UpstreamAnswer {
  const name = resourceOf(model);
  const requests = textsOf(input).map((text) => ({
    model: name,
    content: { parts: [{ text }] },
    ...(typeof dimensions === 'number' && { outputDimensionality: dimensions }),
  }));
  const translate: Translate = (answer) => {
    const error = readError(answer);
    if (error) return error;
    const vectors = objectsIn(answer['embeddings']).map(({ values }) => values);
    if (vectors.length !== requests.length || !vectors.every(isVector)) return unreadable();
    const { usageMetadata } = answer;
    const tokens = countIn(usageMetadata, 'promptTokenCount');
    const data = vectors.map((vector, index) => ({
      object: 'embedding',
      index,
      embedding: format === 'base64' ? inBase64(vector) : vector,
    }));
    // Google does not always tell, and clients need the figures to be there.
    const usage = { prompt_tokens: tokens ?? 0, total_tokens: tokens ?? 0 };
    return { body: { object: 'list', data, model, usage }, usage: usageOf(tokens) };
  };
  return {
    request: requestOf('batch_embed_contents', model, JSON.stringify({ requests })),
    decoder: new TranslatedAnswerDecoder(translate),
  };
}

function textsOf(input: unknown): readonly string[] {
  const texts: unknown[] = Array.isArray(input) ? input : [input];
  if (texts.length > 0 && texts.every((text) => typeof text === 'string')) return texts;
  throw refused('input', 'must be a text or a list of texts for this model: it takes no tokens');
}

function isVector(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((one) => typeof one === 'number');
}

/** As OpenAI's SDKs ask for it: 32-bit floats, the lowest byte first. */
function inBase64(vector: readonly number[]): string {
  const bytes = Buffer.alloc(vector.length * 4);
  for (const [index, value] of vector.entries()) bytes.writeFloatLE(value, index * 4);
  return bytes.toString('base64');
}

function readError(answer: JsonObject): AppError | undefined {
  const error = errorIn(answer);
  return error && classifyStatus(error);
}

function readFigures(figures: JsonObject): Usage | undefined {
  return usageOf(countIn(figures, 'promptTokenCount'));
}

function usageOf(inputTokens: number | undefined): Usage | undefined {
  return inputTokens === undefined ? undefined : { inputTokens, outputTokens: 0 };
}
