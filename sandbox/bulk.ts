// Long answers for measurements. Their frames are made once and reused, so that the sandbox costs little CPU.
import { createBoundedMap } from './bounded-map.ts';
import { base64url, frame } from './frames.ts';
import { encodeEvent } from './schema.ts';
import { add, appendText, type FramedEvents, finish, opening, type Script, toolCalls } from './script.ts';
import { createMessage, type Turn } from './turn.ts';
import type { ClientAction } from './wire.ts';

const defaultChunks = 200;
export const maximumChunks = 100_000;

/** Chunk `index`, counted from 0: `token-0000 `, `token-0001 ` and so on. */
function bulkChunk(index: number): string {
  return `token-${String(index).padStart(4, '0')} `;
}

const made = createBoundedMap<FramedEvents>(32);

/** The text in `turn.size` chunks (200 unless told), at once or one every `everyMs`. */
export function bulk(everyMs?: number): Script {
  return function* (turn) {
    yield* opening(turn);
    if (turn.calls.length > 0) yield* toolCalls(turn);
    else {
      const count = Math.min(turn.size ?? defaultChunks, maximumChunks);
      const frames = framesFor(turn, count);
      turn.outputLength += count * bulkChunk(0).length;
      yield everyMs ? { kind: 'frames', frames, everyMs } : { kind: 'frames', frames };
    }
    yield finish(turn);
  };
}

/** Equal for every conversation at the same turn: the bulk scenarios give their tasks and messages fixed ids. */
function framesFor(turn: Turn, count: number): FramedEvents {
  const key = `${turn.taskId} ${turn.conversation.turnCount} ${count}`;
  const known = made.get(key);
  if (known) return known;
  const messageId = `message-${turn.conversation.turnCount}-bulk`;
  const message = createMessage(messageId, turn.taskId, 'request-bulk', {
    agentOutput: { text: bulkChunk(0) },
  });
  const frames: Buffer[] = [];
  const push = (actions: ClientAction[]): void => {
    frames.push(Buffer.from(frame(base64url(encodeEvent({ clientActions: { actions } })))));
  };
  push([add(turn, message)]);
  for (let index = 1; index < count; index++) {
    const step = appendText(turn, message, bulkChunk(index));
    if (step.kind === 'event') push(step.event.clientActions?.actions ?? []);
  }
  const whole = Array.from({ length: count }, (_none, index) => bulkChunk(index)).join('');
  const result: FramedEvents = {
    frames,
    joined: Buffer.concat(frames),
    actions: [add(turn, { ...message, agentOutput: { text: whole } })],
  };
  made.set(key, result);
  return result;
}

const lineLength = 64;
const linesPerPiece = 1_024;
const hugePieces = 128;

/** Piece `index` of the 128 pieces of `huge`: 65,536 ASCII characters, in numbered lines of 64. */
function hugePiece(index: number): string {
  const line = (_none: unknown, offset: number): string =>
    `${`line ${index * linesPerPiece + offset} `.padEnd(lineLength - 1, '.')}\n`;
  return Array.from({ length: linesPerPiece }, line).join('');
}

/** 8 MiB of text, each piece made when the reader has taken the one before. */
export const huge: Script = function* (turn) {
  yield* opening(turn);
  if (turn.calls.length > 0) yield* toolCalls(turn);
  else {
    const message = turn.message({ agentOutput: { text: hugePiece(0) } });
    yield { kind: 'event', event: { clientActions: { actions: [add(turn, message)] } } };
    for (let index = 1; index < hugePieces; index++) yield appendText(turn, message, hugePiece(index));
    turn.outputLength += hugePieces * linesPerPiece * lineLength;
  }
  yield finish(turn);
};
