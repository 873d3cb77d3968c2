import type { Ability, Capabilities } from './capabilities.ts';
import type { AppError } from './errors.ts';
import type {
  AskedRequest,
  Citation,
  FinishReason,
  ProviderMetadata,
  ReasoningProof,
  ToolCall,
  TuningName,
  TurnEvent,
  TurnRequest,
  Usage,
} from './turn.ts';

/** What an upstream adapter wants kept between the turns of one conversation. Opaque to all others. */
export type ConversationMemory = Uint8Array;

export interface OutboundTurn {
  /** The request with the upstream's own model name. */
  readonly request: TurnRequest;
  /** The upstream is asked to cache the prompt where the client has not said what of it. */
  readonly cachesPrompts?: boolean;
  /** Names the client's session, for upstreams that cache by such a key: derived from the session's name without revealing it. */
  readonly cacheKey?: string;
  /** The upstream wants reasoning in every answer of the history, known or not. */
  readonly fillsReasoning?: boolean;
  /** The longest answer to ask for, whatever the encoder would ask for. */
  readonly mostOutputTokens?: number | undefined;
  /**
   * What the adapter gave back after the conversation's last turn, with the messages that came since.
   * Absent when nothing is remembered: then the whole history has to travel in the request.
   */
  readonly remembered?: {
    readonly memory: ConversationMemory;
    readonly newMessages: TurnRequest['messages'];
  };
}

export interface UpstreamRequest {
  readonly method: 'GET' | 'POST';
  /** Path and query, below the provider's base URL. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
}

/** Reads one upstream answer. Pure: bytes in, events out; every batch belongs to one read of the socket. */
export interface TurnDecoder {
  /** Throws nothing: a fault is an `error` event, after which the decoder is finished and stays silent. */
  push(bytes: Uint8Array): readonly TurnEvent[];
  /** The upstream's bytes ended. Yields an error event when its own end mark never came. */
  end(): readonly TurnEvent[];
  /** All of the answer has come but what marks its end, which some upstreams never send. */
  readonly isWhole?: boolean;
  /** It gives no event before the end: that the answer is on its way shows in its bytes alone. */
  readonly isShownAtEnd?: boolean;
  /** The upstream has said that its list of models is another one by now. */
  readonly isModelListOutdated?: boolean;
  /** After a `finish`: what to keep for the next turn of this conversation. */
  memory(): ConversationMemory | undefined;
}

export interface UpstreamAnswer {
  readonly request: UpstreamRequest;
  /** What it begins with, or how it may read, where it is another one than the protocol's. */
  readonly contentType?: string | RegExp;
  readonly decoder: TurnDecoder;
  /** What the model takes, but not beside the rest of this request; it matters where the request asks for it. */
  readonly leftOut?: readonly Ability[];
}

/** Of a request or an answer. Names in lower case. */
export type UpstreamHeaders = Readonly<Record<string, string | string[] | undefined>>;

export interface FailedResponse {
  readonly status: number;
  readonly headers: UpstreamHeaders;
  /** At most the first 64 KiB. */
  readonly body: Uint8Array;
}

/** What an answer's headers say of one limit of its account. */
export interface LimitReading {
  /** The vendor's word: `requests`, `input_tokens`, `5h`. */
  readonly name: string;
  readonly limit?: number;
  readonly remaining?: number;
  /** Of a window, where the vendor gives no amounts. */
  readonly usedPercent?: number;
  /** When some of it is left again, in milliseconds. */
  readonly resetAt?: number;
  /** It holds for every model; absent: for the model's family. */
  readonly isOfAccount?: true;
}

/** What an upstream takes of images with one turn. */
export interface ImageLimits {
  readonly maxCount: number;
  /** Of one image. */
  readonly maxBytes?: number;
}

/** Calls of OpenAI's API beside turns: they are passed on to an upstream that has the same, and never translated. */
export type Endpoint =
  | 'completions'
  | 'embeddings'
  | 'moderations'
  | 'images'
  | 'speech'
  | 'transcriptions'
  | 'rerank';

/** Gemini's calls for embeddings, of one content and of several. */
export type EmbedCall = 'embed_content' | 'batch_embed_contents';

/** A dialect that clients speak, or a call beside them. */
export type Dialect = 'chat' | 'messages' | 'responses' | 'gemini' | 'count_tokens' | EmbedCall | Endpoint;

/** A request that an upstream of the client's own dialect can be sent as it is. */
export interface RelayedRequest {
  readonly dialect: Dialect;
  /** The body as the client wrote it: a JSON object. */
  readonly body: string;
  /** The body in its place, where it is `multipart/form-data`. */
  readonly form?: { readonly bytes: Buffer; readonly contentType: string };
  /** Headers of the client that are part of its request, such as `anthropic-beta`. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly isStream: boolean;
  /** The client wants usage at the end of a stream. */
  readonly includeUsage: boolean;
  /** Answers asked for. */
  readonly choices: number;
  /** Of each, as the client wrote it. */
  readonly maxOutputTokens?: number;
  /** Where it offers tools: the effort that it asks for, if any. */
  readonly tools?: { readonly effort: string | undefined };
  /** Its limit is in the field that OpenAI has replaced. */
  readonly hasOldLimit?: boolean;
  /** The account cannot read the encrypted reasoning in the body. */
  readonly leavesProofsOut?: boolean;
  /** The upstream wants reasoning in every answer of the history, known or not. */
  readonly fillsReasoning?: boolean;
}

/** Passes requests on to an upstream of the same dialect, and their answers back: events `relayed` instead of the text. */
export interface Relay {
  readonly dialect: Dialect;
  /** False: the upstream refuses it in this dialect. Absent: it judges each request itself. */
  carries?(request: RelayedRequest, model: string): boolean;
  open(request: RelayedRequest, model: string): UpstreamAnswer;
}

/** A wire format we speak to an upstream. Holds no state between turns. */
export interface Outbound {
  /** What the content type of a good answer begins with. */
  readonly contentType: string;
  /** Throws AppError `invalid_request` naming the parameter when the upstream cannot carry the request. */
  open(turn: OutboundTurn): UpstreamAnswer;
  /** A response whose status is not 200 or whose content type is not the protocol's. */
  classifyFailure(response: FailedResponse): AppError;
  /** Of any answer, good or failed. */
  readLimits?(headers: UpstreamHeaders, now: number): readonly LimitReading[];
  /** What the models that share a limit are called; absent: each model has its own, dated versions included. */
  limitFamily?(model: string): string;
  readonly capabilities: Capabilities;
  readonly images: ImageLimits;
  /** The upstream refuses a lower limit: its encoder sends this one, and the gateway keeps the client's. */
  readonly leastOutputTokens?: number;
  /** How long an answer its encoder asks for; absent: as long as the client does, if that is native. */
  outputTokensOf?(request: Pick<TurnRequest, 'model' | 'limits' | 'reasoning'>): number | undefined;
  /** Its decoders give a memory. Without this no conversation is looked for, which would mean hashing every history. */
  readonly hasMemory?: true;
  /** It wants proofs of reasoning back with the calls that followed. */
  readonly wantsProofs?: true;
  readonly relay?: Relay;
}
export type RelayingOutbound = Outbound & { readonly relay: Relay };

/** Turns events into the bytes of one streamed answer in the client's dialect. */
export interface StreamEncoder {
  /** All bytes for one batch of events, to be written at once. Empty when the batch shows nothing. */
  encode(events: readonly TurnEvent[]): string;
  /** Keeps an idle stream alive without saying anything. */
  readonly keepAlive: string;
}

export interface AnswerIdentity {
  /** The answer's id in the client's dialect. */
  readonly id: string;
  /** Unix seconds. */
  readonly created: number;
  /** The time when it is asked for, in milliseconds: some dialects tell when an answer was whole. */
  now(): number;
  /** The model as the client named it. */
  readonly model: string;
  /** Provider and model that answer, as a client could name them; undefined until that is known. */
  readonly answeredBy?: string | undefined;
  readonly systemFingerprint?: string;
}

/** The collected answer of a turn that was not streamed. */
export interface CollectedTurn {
  /** The whole answer in the client's own dialect; then the rest is not filled in. */
  readonly relayed?: string;
  readonly text: string;
  readonly reasoning: string;
  readonly reasoningProof?: ReasoningProof;
  readonly toolCalls: readonly ToolCall[];
  /** The answer went on behind the end of the last one: it is as the model wrote it. */
  readonly isLastCallOver?: boolean;
  readonly refusal?: string;
  /** Of the text. */
  readonly citations?: readonly Citation[];
  readonly metadata?: ProviderMetadata;
  readonly usage: Usage | undefined;
  readonly finishReason: FinishReason;
  readonly stopSequence?: string;
}

/** A dialect clients speak to us. */
export interface Inbound<Options> {
  /** Its word in figures. */
  readonly name: Dialect;
  /** What the ids of its answers begin with. */
  readonly idPrefix: string;
  /** Throws AppError `invalid_request` naming the field at fault. */
  decode(body: unknown): DecodedTurn<Options>;
  /** The same for an upstream of this very dialect, which takes `text` as it is; undefined for a body without a model. */
  readRelayed?(body: unknown, text: string, headers: UpstreamHeaders): DecodedTurn<Options> | undefined;
  streamEncoder(identity: AnswerIdentity, options: Options): StreamEncoder;
  /** The content type of its streams where they are no server-sent events. */
  readonly streamType?: string;
  /** There is no room for comments in its streams, or its clients break on them. */
  readonly hasNoComments?: true;
  encodeAnswer(identity: AnswerIdentity, answer: CollectedTurn, options: Options): string;
  /** Where the dialect has requests for several answers. */
  readonly choices?: ChoicesEncoders<Options>;
  /** The status and the body of an error answer before the first byte. */
  errorStatus(error: AppError): number;
  encodeError(error: AppError, requestId: string): string;
  /** Parameters the dialect calls by another name than Chat Completions does. */
  readonly parameterNames?: Partial<Record<TuningName, string>>;
  /** Its answers are bytes of any kind, which are passed on as they come: it encodes errors alone. */
  readonly passesBytes?: true;
  /** A second header the dialect's clients read the request's id from. */
  readonly requestIdHeader?: string;
}

/** How several answers to one request are written. */
export interface ChoicesEncoders<Options> {
  /** One choice of a stream, without the stream's end. */
  streamEncoder(identity: AnswerIdentity, options: Options, choice: number): StreamEncoder;
  /** After all choices; the usage is that of all. */
  encodeEnd(identity: AnswerIdentity, options: Options, usage: Usage | undefined): string;
  encodeAnswers(
    identity: AnswerIdentity,
    answers: readonly CollectedTurn[],
    options: Options,
    usage: Usage | undefined,
  ): string;
}

export interface DecodedTurn<Options> {
  readonly request: AskedRequest;
  readonly isStream: boolean;
  /** How many answers the client wants; absent: one. */
  readonly choices?: number;
  /** The field that says so; absent: `n`. */
  readonly choicesParam?: string;
  readonly options: Options;
  /** Harmless fields the client sent that nobody here reads. */
  readonly ignored: readonly string[];
  /** The body as it is, for an upstream that speaks the client's dialect and judges the rest of it; `request` is not filled in. */
  readonly relayed?: RelayedRequest;
  /** Beside `relayed`: the whole request, decoded on the first call, for an upstream of another dialect. Throws AppError. */
  readonly translated?: () => DecodedTurn<Options>;
  /** What the client keeps the turns of its session together by, in its dialect's words. */
  readonly affinityKey?: string;
}
