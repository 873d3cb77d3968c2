// Answers that go wrong: refused outright, ended by an error event, or broken off.
import { finish, finishBare, init, opening, partialText, type Script, type Step } from './script.ts';
import type { FinishReason } from './wire.ts';

/** An HTTP answer in place of a stream. */
export interface Refusal {
  status: number;
  headers: Record<string, string>;
  body: string;
}

const plainText = { 'content-type': 'text/plain; charset=utf-8' };

export function refusal(status: number, body: string, headers: Record<string, string> = {}): Refusal {
  return { status, headers: { ...plainText, ...headers }, body };
}

/** The service's own answer about an account; what comes from a server in front of it is a page. */
export function accountRefusal(status: number, error: string): Refusal {
  return { status, headers: { 'content-type': 'application/json' }, body: JSON.stringify({ error }) };
}

/** What the front of the real upstream is reported to say to HTTP/1.1: a page of 134 bytes. */
export const http2Only: Refusal = {
  status: 403,
  headers: { 'content-type': 'text/html; charset=UTF-8', via: '1.1 google' },
  body:
    '<!doctype html><meta charset="utf-8"><meta name=viewport content="width=device-width, initial-scale=1">' +
    '<title>403</title>403 Forbidden',
};

export const outOfCredits: Refusal = {
  status: 429,
  headers: { 'content-type': 'application/json', 'x-warp-error-code': 'OUT_OF_CREDITS' },
  body: JSON.stringify({ userDisplayMessage: 'Sandbox: this account is out of credits.' }),
};

/** Init, then these steps: no action was sent. */
export function early(...steps: Step[]): Script {
  return function* (turn) {
    yield init(turn);
    yield* steps;
  };
}

/** The opening and a partial text, then these steps. */
export function late(...steps: Step[]): Script {
  return function* (turn) {
    yield* opening(turn);
    yield* partialText(turn);
    yield* steps;
  };
}

export function earlyEnd(reason: FinishReason): Script {
  return early(finishBare(reason));
}

export function lateEnd(reason: FinishReason): Script {
  return late(finishBare(reason));
}

/** Only these steps: not even init. */
export function only(...steps: Step[]): Script {
  return () => steps;
}

export const maxTokens: Script = function* (turn) {
  yield* opening(turn);
  yield* partialText(turn);
  yield finish(turn, { maxTokenLimit: {} });
};

export const invalidKey: Script = (turn) =>
  earlyEnd({ invalidApiKey: { provider: 1, modelName: turn.model } })(turn);

const lineMebibytes = 48;

/** Partial text, then one line that has no end: who waits for it fills its memory. */
export const endless: Script = function* (turn) {
  yield* opening(turn);
  yield* partialText(turn);
  yield { kind: 'raw', text: 'data: ' };
  const piece = 'A'.repeat(1024 * 1024);
  for (let count = 0; count < lineMebibytes; count++) yield { kind: 'raw', text: piece };
  yield { kind: 'silence' };
};

/** A payload no client can read, then a proper end: who only looks at the end takes it for a good answer. */
export function garbage(payload: string): Script {
  return function* (turn) {
    yield* opening(turn);
    yield* partialText(turn);
    yield { kind: 'raw', text: `data: ${payload}\n\n` };
    yield finish(turn);
  };
}
