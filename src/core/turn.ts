import type { Ability } from './capabilities.ts';
import type { AppError } from './errors.ts';

/**
 * The neutral turn: every client dialect decodes to it and every upstream protocol encodes from it. What a client sent
 * may name images by their address (`AskedRequest`); an upstream gets them inline.
 */
export interface TurnRequest<Image extends AnyImage = ImagePart> {
  /** The model as the client named it, or, once routed, as the upstream names it. */
  readonly model: string;
  readonly messages: readonly Message<Image>[];
  /** The field the client sent them in; absent: `messages`. */
  readonly messagesParam?: string;
  readonly tools: readonly Tool[];
  readonly toolChoice: ToolChoice;
  readonly parallelToolCalls: boolean;
  readonly sampling: Sampling;
  readonly limits: Limits;
  readonly responseFormat: ResponseFormat;
  readonly reasoning: Reasoning;
  /** Absent: none. */
  readonly wishes?: readonly Wish[];
}

/**
 * What a client asked for by a field, or a kind of content, that not every upstream takes. The candidate decides what becomes of it
 * (`core/capabilities.ts`).
 */
export interface Wish {
  /** What an upstream has to be able to do. */
  readonly ability: Ability;
  /** Where the client wrote it. */
  readonly param: string;
  /** As the client wrote it, for the upstream that takes it. */
  readonly value?: unknown;
  /** At an upstream that lacks the ability; `ignored`: the decoder has named it, `silent`: nothing depends on it. */
  readonly otherwise: 'ignored' | 'refused' | 'silent';
  /** Of a refusal: why, and what to do. */
  readonly says: string;
}

/** A turn as a client asked for it. */
export interface AskedRequest extends TurnRequest<AnyImage> {
  /** A call of the answer as the client will send it back, where its dialect writes some calls in another form. */
  readonly resentCall?: (call: ToolCall) => ToolCall;
}
export type AskedMessage = Message<AnyImage>;

export interface Reasoning {
  /** `none`: the client wants none of it. */
  readonly effort?: string;
  /** How many tokens the reasoning may take, where the client said it so. Negative: as many as the model likes. */
  readonly budgetTokens?: number;
  /** The client asked the model to reason, and so for an answer whose limit the reasoning is part of. */
  readonly isAsked?: boolean;
}

export interface Sampling {
  readonly temperature?: number;
  readonly topP?: number;
  readonly seed?: number;
  readonly presencePenalty?: number;
  readonly frequencyPenalty?: number;
}

/** A parameter that tunes an answer and that an upstream may lack without harm. */
export type TuningName = keyof Sampling | 'reasoningEffort';

export interface Limits {
  /** Tokens of visible output, at least 1. */
  readonly maxOutputTokens?: number;
  /** The answer ends before the first of these, none of them empty. */
  readonly stopSequences?: readonly string[];
}

export type ResponseFormat =
  | { readonly type: 'text' }
  /** One JSON object. */
  | { readonly type: 'json' }
  /** JSON that follows the schema; `param` is where the client wrote that. */
  | {
      readonly type: 'json-schema';
      readonly schema: Readonly<Record<string, unknown>>;
      readonly param: string;
    };

/** The upstream may cache the request up to the end of this part. */
export interface CacheBreakpoint {
  /** For how long at least; absent: as the upstream does. */
  readonly ttlSeconds?: number;
}
export interface Cacheable {
  readonly cacheBreakpoint?: CacheBreakpoint;
}

/** A function the client offers. `parameters` is a JSON schema object. */
export interface Tool extends Cacheable {
  readonly name: string;
  readonly description?: string;
  readonly parameters: Readonly<Record<string, unknown>>;
  /** Calls have to follow the schema. */
  readonly isStrict?: boolean;
}

export type ToolChoice =
  | { readonly type: 'auto' }
  | { readonly type: 'none' }
  | { readonly type: 'required' }
  | { readonly type: 'tool'; readonly name: string };

export type Message<Image extends AnyImage = ImagePart> =
  | { readonly role: 'system'; readonly parts: readonly TextPart[] }
  | { readonly role: 'user'; readonly parts: readonly (TextPart | Image | DocumentPart)[] }
  | { readonly role: 'assistant'; readonly parts: readonly AssistantPart[] }
  | { readonly role: 'tool'; readonly parts: readonly ToolResultPart<Image>[] };

/** What messages of the assistant hold. */
export type AssistantPart = TextPart | RefusalPart | ReasoningPart | ToolCallPart;

export interface TextPart extends Cacheable {
  readonly type: 'text';
  readonly text: string;
}
/** What the model said instead of an answer. */
export interface RefusalPart extends Cacheable {
  readonly type: 'refusal';
  readonly text: string;
}
/** An image carried inline. `data` is standard base64. */
export interface ImagePart extends Cacheable {
  readonly type: 'image';
  readonly mediaType: string;
  readonly data: string;
  /** Where the client wrote it. */
  readonly param?: string;
}
/** An image the client named by its address. */
export interface ImageUrlPart extends Cacheable {
  readonly type: 'image-url';
  readonly url: string;
  /** Where the client wrote it. */
  readonly param: string;
}
export type AnyImage = ImagePart | ImageUrlPart;
/** A file that is neither text nor an image. Upstreams without the ability `documents` get the note. */
export interface DocumentPart extends Cacheable {
  readonly type: 'document';
  readonly mediaType: string;
  /** Standard base64. */
  readonly data: string;
  readonly name?: string;
  readonly note: string;
  /** How the part is named where the note replaces it. */
  readonly ignoredAs: string;
}
/** What a protocol wants given back with its reasoning, such as a signature: for that protocol alone, and opaque to all others. */
export interface ReasoningProof {
  readonly protocol: string;
  readonly data: string;
}
export interface ReasoningPart extends Cacheable {
  readonly type: 'reasoning';
  readonly text: string;
  readonly proof?: ReasoningProof;
}
export interface ToolCall {
  readonly id: string;
  readonly name: string;
  /** JSON text, as the model wrote it. */
  readonly arguments: string;
}
export interface ToolCallPart extends ToolCall, Cacheable {
  readonly type: 'tool-call';
}
export interface ToolResultPart<Image extends AnyImage = ImagePart> extends Cacheable {
  readonly type: 'tool-result';
  readonly callId: string;
  readonly text: string;
  readonly images?: readonly Image[];
  readonly documents?: readonly DocumentPart[];
  readonly isError: boolean;
}

export interface Usage {
  /** Those read from a cache and those written to one included. */
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly cachedInputTokens?: number;
  readonly cacheWriteTokens?: number;
  readonly reasoningTokens?: number;
  /** What the provider charged, in its own unit of account (Warp: credits). */
  readonly credits?: number;
  /** What the turn cost in US cents, as far as the upstream said. */
  readonly costCents?: number;
  /** True when the upstream gave no exact figures, and the gateway counted or derived them. */
  readonly isEstimated?: boolean;
}

/** A source on the web that supports a part of the answer's text. */
export interface Citation {
  readonly url: string;
  readonly title?: string;
  /** Characters of the text. */
  readonly start?: number;
  readonly end?: number;
}

/** What an upstream said beside its answer, by the protocol whose words it is in. */
export type ProviderMetadata = Readonly<Record<string, Readonly<Record<string, unknown>>>>;

export type FinishReason = 'stop' | 'length' | 'tool-calls' | 'content-filter';

export interface TurnEnd {
  readonly reason: FinishReason;
  /** What a `stop` was cut at. */
  readonly stopSequence?: string;
  /** The reason in the upstream's own word. */
  readonly upstreamReason?: string;
}

/** One step of an answer. A stream holds exactly one `finish` or `error`, and it is the last. */
export type TurnEvent =
  | { readonly type: 'start'; readonly upstreamRequestId?: string }
  | { readonly type: 'text-delta'; readonly text: string }
  | { readonly type: 'refusal-delta'; readonly text: string }
  | { readonly type: 'reasoning-delta'; readonly text: string }
  /** Of all reasoning before it. */
  | { readonly type: 'reasoning-proof'; readonly proof: ReasoningProof }
  | { readonly type: 'tool-call-start'; readonly index: number; readonly id: string; readonly name: string }
  | { readonly type: 'tool-call-delta'; readonly index: number; readonly arguments: string }
  | { readonly type: 'tool-call-end'; readonly index: number }
  /** A part of the answer that is in the client's own dialect already, end mark and all: it is passed on as it is. */
  | { readonly type: 'relayed'; readonly text: string }
  /** The same where it need not be text. */
  | { readonly type: 'passed'; readonly bytes: Uint8Array }
  /** Of text before it. */
  | { readonly type: 'citation'; readonly citation: Citation }
  | { readonly type: 'usage'; readonly usage: Usage }
  | { readonly type: 'metadata'; readonly metadata: ProviderMetadata }
  | ({ readonly type: 'finish' } & TurnEnd)
  | { readonly type: 'error'; readonly error: AppError };

const withoutContent: ReadonlySet<TurnEvent['type']> = new Set(['start', 'usage', 'metadata', 'error']);

/** Of events that show the client nothing: no answer begins with one. */
export function beginsNothing({ type }: TurnEvent): boolean {
  return withoutContent.has(type);
}

/** The tools a model gets to see: where it must call a certain one, no other can lead it astray. */
export function toolsToOffer({
  tools,
  toolChoice,
}: Pick<TurnRequest, 'tools' | 'toolChoice'>): readonly Tool[] {
  switch (toolChoice.type) {
    case 'none':
      return [];
    case 'tool':
      return tools.filter(({ name }) => name === toolChoice.name);
    default:
      return tools;
  }
}

/** What tools are known by: their names, descriptions and parameters. */
export function plainTools({ tools }: Pick<TurnRequest, 'tools'>): readonly Tool[] {
  return tools.map(({ name, description, parameters }) => ({
    name,
    ...(description === undefined ? {} : { description }),
    parameters,
  }));
}

/** The same as text to be counted. */
export function toolsText(request: Pick<TurnRequest, 'tools'>): string {
  return request.tools.length === 0 ? '' : JSON.stringify(plainTools(request));
}
