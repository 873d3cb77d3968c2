import type { Capabilities } from './capabilities.ts';
import type { AppError } from './errors.ts';
import type { ImageLimits, UpstreamHeaders } from './protocol.ts';
import type { ProviderAccount } from './provider.ts';
import type { TurnEvent, TurnRequest } from './turn.ts';

export interface UpstreamTimeouts {
  /** From the request to the first event of the answer. */
  readonly firstEventMs: number;
  /** Between two events. */
  readonly idleMs: number;
}

/** A turn under way at an upstream. */
export interface RunningCall {
  /** False while the upstream has surely not begun to work on the request: it never came there, or was refused. */
  readonly isTaken: boolean;
  resume(): void;
  /** Ends the call from our side; `error` becomes its terminal event. */
  abort(error: AppError): void;
  /** Ends the call silently: the consumer has all it wants. */
  discard(): void;
  /** To be called now and then with the call's own time: ends a call whose upstream has been silent for too long. */
  checkTimeouts(now: number): void;
}

/** Who hears of a running call. */
export interface CallListener {
  /**
   * Every batch of events of one read, in order. The last batch of a call ends with a `finish` or an `error`, and
   * exactly one batch does. Returning false asks for a pause until `resume`. Must not throw.
   */
  onEvents(events: readonly TurnEvent[]): boolean;
  /** A connection to the upstream stands, and the request is on its way. */
  onConnected?(): void;
  /** The head of the upstream's answer, where a turn is one exchange. */
  onHead?(status: number, headers: UpstreamHeaders): void;
  /** Where a person can watch the answer being made. Before the first event, at most twice. */
  onRunUrl?(url: string): void;
  /** The upstream is done with: nothing is left to watch over. */
  onClosed(): void;
}

export interface TurnCall {
  /** With the upstream's own model name. */
  readonly request: TurnRequest;
  readonly account: ProviderAccount;
  readonly timeouts: UpstreamTimeouts;
  /** Milliseconds in which the upstream could be heard; silence is measured by them. */
  readonly now: () => number;
  readonly listener: CallListener;
}

/** Carries turns over an API where a turn is more than one HTTP exchange. Calls nobody back before `start` returns. */
export interface TurnCaller {
  /** Throws AppError `invalid_request` naming the parameter when the upstream cannot carry the request. */
  start(call: TurnCall): RunningCall;
  readonly capabilities: Capabilities;
  readonly images: ImageLimits;
  /** Waits, for some seconds at most, until what was ended here has ended there too. */
  close(): Promise<void>;
}
