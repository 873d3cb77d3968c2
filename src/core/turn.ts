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
  /** JSON that follows the schema; `param` is where the client wrote it. */
  | {
      readonly type: 'json-schema';
      readonly schema: Readonly<Record<string, unknown>>;
      readonly param: string;
    };

/** A function the client offers. `parameters` is a JSON schema object. */
export interface Tool {
  readonly name: string;
  readonly description?: string;
  readonly parameters: Readonly<Record<string, unknown>>;
}

export type ToolChoice =
  | { readonly type: 'auto' }
  | { readonly type: 'none' }
  | { readonly type: 'required' }
  | { readonly type: 'tool'; readonly name: string };

export type Message<Image extends AnyImage = ImagePart> =
  | { readonly role: 'system'; readonly parts: readonly TextPart[] }
  | { readonly role: 'user'; readonly parts: readonly (TextPart | Image)[] }
  | { readonly role: 'assistant'; readonly parts: readonly (TextPart | ReasoningPart | ToolCallPart)[] }
  | { readonly role: 'tool'; readonly parts: readonly ToolResultPart<Image>[] };

export interface TextPart {
  readonly type: 'text';
  readonly text: string;
}
/** An image carried inline. `data` is standard base64. */
export interface ImagePart {
  readonly type: 'image';
  readonly mediaType: string;
  readonly data: string;
  /** Where the client wrote it. */
  readonly param?: string;
}
/** An image the client named by its address. */
export interface ImageUrlPart {
  readonly type: 'image-url';
  readonly url: string;
  /** Where the client wrote it. */
  readonly param: string;
}
export type AnyImage = ImagePart | ImageUrlPart;
/** What a protocol wants given back with its reasoning, such as a signature: for that protocol alone, and opaque to all others. */
export interface ReasoningProof {
  readonly protocol: string;
  readonly data: string;
}
export interface ReasoningPart {
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
export interface ToolCallPart extends ToolCall {
  readonly type: 'tool-call';
}
export interface ToolResultPart<Image extends AnyImage = ImagePart> {
  readonly type: 'tool-result';
  readonly callId: string;
  readonly text: string;
  readonly images?: readonly Image[];
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
  /** What the turn cost in US cents, as far as the upstream told. */
  readonly costCents?: number;
  /** True when the upstream gave no exact figures, and the gateway counted or derived them. */
  readonly isEstimated?: boolean;
}

export type FinishReason = 'stop' | 'length' | 'tool-calls' | 'content-filter';

/** One step of an answer. A stream holds exactly one `finish` or `error`, and it is the last. */
export type TurnEvent =
  | { readonly type: 'start'; readonly upstreamRequestId?: string }
  | { readonly type: 'text-delta'; readonly text: string }
  | { readonly type: 'reasoning-delta'; readonly text: string }
  /** Of all reasoning before it. */
  | { readonly type: 'reasoning-proof'; readonly proof: ReasoningProof }
  | { readonly type: 'tool-call-start'; readonly index: number; readonly id: string; readonly name: string }
  | { readonly type: 'tool-call-delta'; readonly index: number; readonly arguments: string }
  | { readonly type: 'tool-call-end'; readonly index: number }
  /** A part of the answer that is in the client's own dialect already, end mark and all: it is passed on as it is. */
  | { readonly type: 'relayed'; readonly text: string }
  | { readonly type: 'usage'; readonly usage: Usage }
  /** `stopSequence` names what a `stop` was cut at. */
  | { readonly type: 'finish'; readonly reason: FinishReason; readonly stopSequence?: string }
  | { readonly type: 'error'; readonly error: AppError };
