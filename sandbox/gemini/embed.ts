// What the Gemini API answers to embedContent and batchEmbedContents.
import { z } from 'zod';
import { content } from './request.ts';

export const embeddingModel = 'gemini-embedding';

const oneRequest = z.strictObject({
  model: z.string().optional(),
  content,
  taskType: z
    .enum([
      'TASK_TYPE_UNSPECIFIED',
      'RETRIEVAL_QUERY',
      'RETRIEVAL_DOCUMENT',
      'SEMANTIC_SIMILARITY',
      'CLASSIFICATION',
      'CLUSTERING',
      'QUESTION_ANSWERING',
      'FACT_VERIFICATION',
      'CODE_RETRIEVAL_QUERY',
    ])
    .optional(),
  title: z.string().optional(),
  outputDimensionality: z.int().min(1).optional(),
});

export const embedRequests = {
  embedContent: oneRequest,
  batchEmbedContents: z.strictObject({ requests: z.array(oneRequest).min(1).max(100) }),
} as const;

type EmbedRequest = z.infer<typeof oneRequest>;

/** The requests of a body of the right form, or why they are refused. */
export function embedded(
  given: EmbedRequest | { readonly requests: readonly EmbedRequest[] },
  model: string,
): object | string {
  const name = `models/${model}`;
  if (!('requests' in given)) {
    if (given.model !== undefined && given.model !== name) return `model: ${given.model} is not ${name}`;
    return { embedding: { values: vectorOf(given) }, usageMetadata: usageOf([given]) };
  }
  const other = given.requests.findIndex((request) => request.model !== name);
  if (other !== -1)
    return `* BatchEmbedContentsRequest.requests[${other}].model: the model must be the one of the batch\n`;
  return {
    embeddings: given.requests.map((request) => ({ values: vectorOf(request) })),
    usageMetadata: usageOf(given.requests),
  };
}

function textOf({ content: { parts = [] } }: EmbedRequest): string {
  return parts.map(({ text = '' }) => text).join('');
}

/** Numbers that 32 bits hold exactly: the length of the text, and its letters. */
function vectorOf(request: EmbedRequest): number[] {
  const text = textOf(request);
  return Array.from({ length: request.outputDimensionality ?? 4 }, (_, index) =>
    index === 0 ? text.length : (text.charCodeAt(index - 1) || 0) / 256,
  );
}

function usageOf(requests: readonly EmbedRequest[]) {
  const promptTokenCount = requests.reduce((sum, request) => sum + Math.ceil(textOf(request).length / 4), 0);
  return { promptTokenCount, promptTokenDetails: [{ modality: 'TEXT', tokenCount: promptTokenCount }] };
}
