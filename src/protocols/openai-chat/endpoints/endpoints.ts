import type { Endpoint } from '../../../core/protocol.ts';

interface EndpointForm {
  /** Below the base URL, ours and the upstream's. */
  readonly path: string;
  /** What a good answer may be. */
  readonly contentType: RegExp;
  /** The request is `multipart/form-data`, and the model one of its fields. */
  readonly isForm?: true;
  /** Of a request that names none. */
  readonly defaultModel?: string;
  readonly summary: string;
}

const json = /^application\/json/;
const textOrEvents = /^(application\/json|application\/x-subrip|text\/(plain|vtt|srt|event-stream))/;

/** What OpenAI's API has beside its dialects. A request goes to an upstream that has the same, and both ends of the answer are its own. */
export const endpoints: Readonly<Record<Endpoint, EndpointForm>> = {
  completions: {
    path: '/completions',
    contentType: json,
    summary: 'OpenAI Completions, streaming and not, at an upstream that has them',
  },
  embeddings: { path: '/embeddings', contentType: json, summary: 'Embeddings of texts' },
  moderations: {
    path: '/moderations',
    contentType: json,
    defaultModel: 'omni-moderation-latest',
    summary: 'What a text or an image is flagged for',
  },
  images: {
    path: '/images/generations',
    contentType: /^(application\/json|text\/event-stream)/,
    summary: 'Images made from a description',
  },
  speech: {
    path: '/audio/speech',
    contentType: /^(audio\/|application\/(octet-stream|json)|text\/event-stream)/,
    summary: 'Speech made from text',
  },
  transcriptions: {
    path: '/audio/transcriptions',
    contentType: textOrEvents,
    isForm: true,
    summary: 'The text of a recording, sent as multipart/form-data',
  },
  rerank: { path: '/rerank', contentType: json, summary: 'Documents in the order of their relevance' },
};

export const endpointNames = Object.keys(endpoints) as Endpoint[];
