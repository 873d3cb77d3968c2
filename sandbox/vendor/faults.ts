// Sixteen ways in which a turn goes wrong, the same for every vendor.
import type { ServerResponse } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { taken } from './taken.ts';
import { type Played, type Reply, reply, type Turn, type Vendor } from './vendor.ts';

export const faultNames = [
  /** 429 and when to come again: in 2 seconds. */
  'rate-limited',
  /** 429 without a time. */
  'rate-limited-bare',
  /** The first request of a model gets 500, all others are answered. */
  'error-once',
  'unavailable',
  /** The connection is reset before an answer. */
  'reset',
  /** Nothing is ever sent. */
  'silence',
  /** The head is sent, and the content after a long time. */
  'slow',
  /** The transport ends in the middle of the content. */
  'cut',
  /** Nothing more comes after half of the content. */
  'stall',
  /** A piece that is no JSON inside a sound answer. */
  'malformed',
  /** The answer is whole, but the frames that say so are missing. */
  'no-end-mark',
  'too-long',
  'filtered',
  /** A request whose last message is the model's is refused; others are answered. */
  'prefill',
  /** Up and down: by the count of requests. */
  'flapping',
  /** Usage and half of the content, then the vendor's own error. */
  'accounting',
] as const;

export type FaultName = (typeof faultNames)[number];

/** What happens to one turn. `error` is a plain 500. */
export type Fault = 'sound' | 'error' | FaultName;

interface Play {
  readonly vendor: Vendor;
  readonly turn: Turn;
  readonly response: ServerResponse;
  /** Of this model's requests, from 1. */
  readonly count: number;
  /** Until the first content of a slow answer. */
  readonly slow: () => Promise<unknown>;
  readonly cuts: readonly number[];
}

const flapping: readonly Fault[] = [
  'sound',
  'unavailable',
  'sound',
  'reset',
  'error',
  'sound',
  'cut',
  'sound',
];

export async function playFault(fault: Fault, play: Play): Promise<void> {
  const { vendor, turn, response, count } = play;
  const fail = (
    kind: 'rate-limited' | 'rate-limited-bare' | 'error' | 'unavailable' | 'too-long' | 'prefill',
  ) => reply(response, vendor.failure(kind, turn.seen));
  switch (fault) {
    case 'rate-limited':
    case 'rate-limited-bare':
    case 'unavailable':
    case 'error':
    case 'too-long':
      return fail(fault);
    case 'error-once':
      return count === 1 ? fail('error') : playFault('sound', play);
    case 'prefill':
      return vendor.isPrefilled(turn) ? fail('prefill') : playFault('sound', play);
    case 'flapping':
      return playFault(flapping[(count - 1) % flapping.length] ?? 'sound', play);
    case 'reset':
      response.socket?.resetAndDestroy();
      return;
    case 'silence':
      return;
    case 'filtered':
      return sendAll(play, vendor.filtered(turn));
    case 'accounting':
      return playAbandoned(play);
    default: {
      const answer = vendor.answer(turn);
      if (typeof answer === 'function') return answer(response);
      if ('status' in answer) {
        turn.seen.refusal = answer.body;
        return reply(response, answer);
      }
      return playPart(fault, play, answer);
    }
  }
}

async function playPart(
  fault: 'sound' | 'slow' | 'cut' | 'stall' | 'malformed' | 'no-end-mark',
  play: Play,
  played: Played,
): Promise<void> {
  const { response, slow, turn, vendor } = play;
  const { frames, contentAt, endFrames } = played;
  const pieces = turn.isStream ? frames : [JSON.stringify(played.whole)];
  const half = contentAt + 2;
  switch (fault) {
    case 'sound':
      return sendAll(play, played);
    case 'slow':
      head(play, played);
      response.flushHeaders();
      await slow();
      return sendPieces(play, pieces, played.everyMs);
    case 'malformed': {
      if (!turn.isStream) return sendText(play, played, JSON.stringify(played.whole).replace(':', ' oops '));
      head(play, played);
      return sendPieces(play, [...frames.slice(0, half), vendor.malformedFrame, ...frames.slice(half)]);
    }
    case 'no-end-mark':
      head(play, played);
      return sendPieces(play, turn.isStream ? frames.slice(0, frames.length - endFrames) : pieces);
    case 'cut':
    case 'stall': {
      head(play, played);
      if (turn.isStream) for (const frame of frames.slice(0, half)) response.write(frame);
      else response.write(pieces[0]?.slice(0, pieces[0].length / 2) ?? '');
      if (fault === 'stall') return;
      await taken(30);
      if (turn.isStream) response.write(frames[half]?.slice(0, 20) ?? '');
      await taken(20);
      response.destroy();
    }
  }
}

async function playAbandoned({ response, turn, vendor }: Play): Promise<void> {
  if (!turn.isStream) return reply(response, vendor.failure('error', turn.seen));
  const { frames, contentType } = vendor.abandoned(turn);
  response.writeHead(200, { 'content-type': contentType });
  for (const frame of frames) response.write(frame);
  response.end();
}

function head({ response, turn }: Play, { headers = {}, contentType, whole }: Played): void {
  if (turn.isStream) response.writeHead(200, { ...headers, 'content-type': contentType });
  else {
    const length = String(Buffer.byteLength(JSON.stringify(whole)));
    response.writeHead(200, { ...headers, 'content-type': 'application/json', 'content-length': length });
  }
}

async function sendAll(play: Play, played: Played | Reply): Promise<void> {
  if ('status' in played) return reply(play.response, played);
  if (!play.turn.isStream) {
    head(play, played);
    return sendPieces(play, [JSON.stringify(played.whole)]);
  }
  head(play, played);
  await sendPieces(play, played.frames, played.everyMs);
}

function sendText({ response }: Play, { headers = {} }: Played, text: string): void {
  response.writeHead(200, { ...headers, 'content-type': 'application/json' });
  response.end(text);
}

async function sendPieces(
  { response, turn, cuts }: Play,
  given: readonly string[],
  everyMs?: number,
): Promise<void> {
  turn.seen.answer = given.join('');
  const pieces = cuts.length > 0 ? cutPieces(Buffer.from(turn.seen.answer), cuts) : given;
  for (const piece of pieces) {
    if (response.destroyed) return;
    response.write(piece);
    if (everyMs !== undefined) await delay(everyMs);
    // Each piece is read before the next is written.
    else if (cuts.length > 0) await taken(1);
  }
  response.end();
}

function cutPieces(whole: Buffer, cuts: readonly number[]): Buffer[] {
  const ends = [...new Set(cuts)].filter((cut) => cut > 0 && cut < whole.length).toSorted((a, b) => a - b);
  return [...ends, whole.length].map((end, index) => whole.subarray(ends[index - 1] ?? 0, end));
}
