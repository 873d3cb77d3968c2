import { refused } from '../../../core/errors.ts';
import type { EmbedCall, Outbound, UpstreamAnswer } from '../../../core/protocol.ts';
import { isJsonObject, type JsonObject, jsonBytes, parseJsonObject } from '../../../lib/parse-json.ts';
import { errorIn } from '../../shared/failed-answer.ts';
import { classifyNamed } from '../../shared/openai-failure.ts';
import { type Translate, TranslatedAnswerDecoder } from '../../shared/passed-answer.ts';
import { countIn, objectsIn, readUsage, textIn } from '../../shared/read-answer.ts';
import { unreadable } from '../../shared/relay.ts';
import { endpoints } from './endpoints.ts';

/** Carry Gemini's calls for embeddings to OpenAI's endpoint, whose `outbound` is given. */
export function createGeminiEmbedOutbounds(outbound: Outbound): readonly Outbound[] {
  return (['embed_content', 'batch_embed_contents'] as const).map((call) => ({
    ...outbound,
    relay: {
      dialect: call,
      open: ({ body }, model) => openEmbeddings(call, parseJsonObject(body) ?? {}, model),
    },
  }));
}

function openEmbeddings(call: EmbedCall, body: JsonObject, model: string): UpstreamAnswer {
  const isBatch = call === 'batch_embed_contents';
  const requests = isBatch ? objectsIn(body['requests']) : [body];
  if (requests.length === 0) throw refused('requests', 'must hold at least one request');
  const input = requests.map((request, index) =>
    textOf(request, isBatch ? `requests[${index}].content` : 'content'),
  );
  const sizes = new Set(
    requests.map((request) => request['outputDimensionality'] ?? request['output_dimensionality']),
  );
  if (sizes.size > 1) throw refused('requests', 'must have one outputDimensionality for all at this model');
  const [dimensions] = sizes;
  const asked = { model, input, encoding_format: 'float', dimensions: dimensions ?? undefined };
  const { path, contentType } = endpoints.embeddings;
  const headers = { 'content-type': 'application/json', accept: 'application/json' };
  return {
    request: { method: 'POST', path, headers, body: jsonBytes(JSON.stringify(asked)) },
    contentType,
    decoder: new TranslatedAnswerDecoder((answer) => translated(answer, input.length, isBatch)),
  };
}

function textOf(request: JsonObject, param: string): string {
  const { content } = request;
  const parts = isJsonObject(content) ? objectsIn(content['parts']) : [];
  if (parts.length > 0 && parts.every(({ text }) => typeof text === 'string'))
    return parts.map(({ text }) => textIn(text)).join('');
  throw refused(param, 'must have parts that are texts: this model takes nothing else');
}

function translated(answer: JsonObject, count: number, isBatch: boolean): ReturnType<Translate> {
  const error = errorIn(answer);
  if (error) return classifyNamed(error);
  const vectors = objectsIn(answer['data'])
    .toSorted((one, other) => (countIn(one, 'index') ?? 0) - (countIn(other, 'index') ?? 0))
    .map(({ embedding }) => ({ values: vectorIn(embedding) }));
  if (vectors.length !== count || vectors.some(({ values }) => values === undefined)) return unreadable();
  const usage = readUsage(answer['usage']);
  const usageMetadata = usage && { usageMetadata: { promptTokenCount: usage.inputTokens } };
  const body = isBatch ? { embeddings: vectors } : { embedding: vectors[0] };
  return { body: { ...body, ...usageMetadata }, usage };
}

/** Some servers give every vector in base64, whatever was asked for. */
function vectorIn(embedding: unknown): unknown[] | undefined {
  if (Array.isArray(embedding)) return embedding;
  if (typeof embedding !== 'string') return undefined;
  const bytes = Buffer.from(embedding, 'base64');
  return Array.from({ length: Math.floor(bytes.length / 4) }, (_, index) => bytes.readFloatLE(index * 4));
}
