// What a simulated vendor is: how it reads, answers and refuses requests.
import type { IncomingMessage, ServerResponse } from 'node:http';

/** A request as it came. */
export interface SeenRequest {
  readonly method: string;
  /** With its query. */
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
  /** As it was written. */
  readonly text: string;
  /** The key, without its scheme; empty where none was sent. */
  readonly key: string;
  /** When it was read, in milliseconds since the epoch. */
  readonly at: number;
  /** Our side was cut before the answer had ended. */
  wasCut: boolean;
  /** What was answered, as far as it is a sound answer. */
  answer: string;
  /** Of the answer; 0 before it. */
  status: number;
  /** The body of the answer that refused it for its form or sense. */
  refusal?: unknown;
}

/** One JSON answer. */
export interface Reply {
  readonly status: number;
  readonly body: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

/** A turn's answer, whole and as a stream. */
export interface Played {
  readonly whole: unknown;
  readonly frames: readonly string[];
  /** Before this frame nothing of the content was sent. */
  readonly contentAt: number;
  /** How many of the last frames only say that the answer is complete. */
  readonly endFrames: number;
  /** Of a stream. */
  readonly contentType: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Between frames. */
  readonly everyMs?: number | undefined;
}

/** Some scenarios write what no other does. */
export type ByHand = (response: ServerResponse) => Promise<void> | void;

export interface Turn {
  /** As it was asked for. */
  readonly model: string;
  /** The model without the name of a fault. */
  readonly scenario: string;
  readonly isStream: boolean;
  readonly body: unknown;
  readonly seen: SeenRequest;
}

export type Failure =
  | 'no-key'
  | 'bad-key'
  | 'rate-limited'
  | 'rate-limited-bare'
  | 'quota'
  | 'error'
  | 'unavailable'
  | 'too-long'
  | 'prefill'
  | 'not-json'
  | 'unknown-model'
  | 'unknown-path';

/** What a vendor does in its own way. */
export interface Vendor {
  /** In front of every path, unless the server is started with another. */
  readonly prefix: string;
  readonly scenarios: readonly string[];
  keyOf(headers: IncomingMessage['headers'], url: URL): string;
  /** What a request for a turn asks for; undefined where it is not for one. `body` is undefined where it is no JSON. */
  turnOf(
    seen: SeenRequest,
    path: string,
    url: URL,
    body: unknown,
  ): { readonly model: string; readonly isStream: boolean } | undefined;
  /** All other paths. */
  other(
    seen: SeenRequest,
    path: string,
    url: URL,
    body: unknown,
    models: readonly string[],
  ): Reply | undefined;
  failure(kind: Failure, seen: SeenRequest, detail?: string): Reply;
  answer(turn: Turn): Played | Reply | ByHand;
  /** An answer that the vendor's own filter withheld. */
  filtered(turn: Turn): Played | Reply;
  /** Frames that tell usage and some text, and break with the vendor's error. */
  abandoned(turn: Turn): { readonly frames: readonly string[]; readonly contentType: string };
  isPrefilled(turn: Turn): boolean;
  readonly malformedFrame: string;
}

/** The model and the form of the answer, where the body says both. */
export function askedIn(body: unknown): { readonly model: string; readonly isStream: boolean } {
  const { model, stream } = (body ?? {}) as { readonly model?: unknown; readonly stream?: unknown };
  return { model: String(model), isStream: stream === true };
}

export function isReply(value: object): value is Reply {
  return 'status' in value;
}

export function reply(response: ServerResponse, { status, body, headers = {} }: Reply): void {
  response.writeHead(status, { ...headers, 'content-type': 'application/json' });
  response.end(JSON.stringify(body));
}
