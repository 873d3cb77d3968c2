// The steps a stream is made of, and the parts most scenarios share.
import { cutText, partialPieces, type RequestedCall } from './answer.ts';
import { rawField } from './schema.ts';
import { toStruct } from './struct.ts';
import { pendingCalls } from './tasks.ts';
import { historyOf, type Turn } from './turn.ts';
import type {
  ClientAction,
  FinishReason,
  Message,
  RequestCharges,
  ResponseEvent,
  StreamFinished,
  Usage,
} from './wire.ts';

export type Step =
  | { kind: 'event'; event: ResponseEvent }
  /** Events framed ahead of time, all at once or one every `everyMs`. `actions` is what they add up to. */
  | { kind: 'frames'; frames: FramedEvents; everyMs?: number }
  /** Bytes that are no event. */
  | { kind: 'raw'; text: string }
  | { kind: 'headers' }
  | { kind: 'wait'; ms: number }
  /** Nothing more until the client leaves. */
  | { kind: 'silence' }
  /** Breaks off this answer: the connection over HTTP/1.1, RST_STREAM over HTTP/2. */
  | { kind: 'destroy' }
  /** The same with this code; what was said before is on its way. */
  | { kind: 'reset'; code: number }
  /** A graceful GOAWAY; what follows is still sent. */
  | { kind: 'go-away' }
  /** A GOAWAY that disowns this stream, and nothing more of it. */
  | { kind: 'go-away-below' }
  /** The connection ends, and every other turn on it. */
  | { kind: 'destroy-session' }
  /** The connection is dead without being closed. */
  | { kind: 'freeze' };

export interface FramedEvents {
  frames: readonly Buffer[];
  joined: Buffer;
  actions: readonly ClientAction[];
}

/** The steps of one answer. When they are over, the response ends cleanly. */
export type Script = (turn: Turn) => Iterable<Step>;

export function actions(...list: ClientAction[]): Step {
  return { kind: 'event', event: { clientActions: { actions: list } } };
}

export function add(turn: Turn, ...messages: Message[]): ClientAction {
  return { addMessagesToTask: { taskId: turn.taskId, messages } };
}

export function init(turn: Turn): Step {
  const ids = {
    conversationId: turn.conversation.id,
    requestId: turn.requestId,
    runId: `run-${turn.requestId}`,
  };
  return { kind: 'event', event: { init: ids } };
}

/** Init, the root task where the client sent none, the client's input in the history. */
export function* opening(turn: Turn): Iterable<Step> {
  yield init(turn);
  if (turn.isFirst) {
    yield actions({ createTask: { task: { id: turn.taskId, description: 'Sandbox conversation' } } });
  }
  const answered = new Set(turn.results.map((result) => result.toolCallId));
  const cancelled = pendingCalls(turn.request.taskContext?.tasks ?? [])
    .filter((call) => !answered.has(call.toolCallId ?? ''))
    .map((call) => turn.message({ toolCallResult: { toolCallId: call.toolCallId ?? '', cancel: {} } }));
  const history = [...cancelled, ...historyOf(turn)];
  if (history.length > 0) yield actions(add(turn, ...history));
  if (turn.isFirst) {
    yield actions({ updateTaskServerData: { taskId: turn.taskId, serverData: `opaque ${turn.taskId}` } });
  }
}

/** One agent message: the first piece as a new message, the others appended to it. */
export function* text(turn: Turn, pieces: readonly string[]): Iterable<Step> {
  const [first = '', ...others] = pieces;
  const message = turn.message({ agentOutput: { text: first } });
  yield actions(add(turn, message));
  for (const piece of others) yield appendText(turn, message, piece);
  turn.outputLength += pieces.join('').length;
}

export function appendText(turn: Turn, message: Message, piece: string): Step {
  const patch = { id: message.id ?? '', agentOutput: { text: piece } };
  return actions({
    appendToMessageContent: { taskId: turn.taskId, message: patch, mask: { paths: ['agent_output.text'] } },
  });
}

/** Reasoning in these pieces, then how long it took. */
export function* thought(turn: Turn, pieces: readonly string[]): Iterable<Step> {
  const message = turn.message({ agentReasoning: { reasoning: pieces[0] ?? '' } });
  yield actions(add(turn, message));
  const patch = (agentReasoning: NonNullable<Message['agentReasoning']>, path: string) => ({
    taskId: turn.taskId,
    message: { id: message.id ?? '', agentReasoning },
    mask: { paths: [path] },
  });
  for (const piece of pieces.slice(1)) {
    yield actions({ appendToMessageContent: patch({ reasoning: piece }, 'agent_reasoning.reasoning') });
  }
  const finishedDuration = { seconds: 1, nanos: 500_000_000 };
  yield actions({ updateTaskMessage: patch({ finishedDuration }, 'agent_reasoning.finished_duration') });
  turn.outputLength += pieces.join('').length;
}

/** The answer in up to six pieces, or the tool calls the user asked for. */
export function* answer(turn: Turn): Iterable<Step> {
  if (turn.calls.length > 0) yield* toolCalls(turn);
  else yield* text(turn, cutText(turn.answer, 6));
}

export function* toolCalls(turn: Turn): Iterable<Step> {
  yield* calls(turn, turn.calls);
}

export function* calls(turn: Turn, list: readonly RequestedCall[]): Iterable<Step> {
  for (const [index, call] of list.entries()) {
    const toolCallId = `call-${turn.conversation.turnCount}-${index + 1}-${turn.requestId}`;
    const callMcpTool = { name: call.name, args: toStruct(call.args), serverId: turn.serverId };
    yield actions(add(turn, turn.message({ toolCall: { toolCallId, callMcpTool } })));
    turn.outputLength += JSON.stringify(call.args).length;
  }
}

export function* partialText(turn: Turn): Iterable<Step> {
  yield* text(turn, partialPieces);
}

/** The end of a good turn, with its usage. */
export function finish(turn: Turn, reason: FinishReason = { done: {} }): Step {
  return { kind: 'event', event: { finished: { ...reason, ...usageOf(turn) } } };
}

/** An end that tells of no usage. */
export function finishBare(reason: FinishReason): Step {
  return finishWith(reason);
}

/** An end of these fields. */
export function finishWith(finished: StreamFinished): Step {
  return { kind: 'event', event: { finished } };
}

/** Opening, content, end: `content` is what makes the scenario. */
export function complete(content: Script): Script {
  return function* (turn) {
    yield* opening(turn);
    yield* content(turn);
    yield finish(turn);
  };
}

/** As `complete`, but a user who asks for tool calls gets these instead. */
export function completeUnlessCalls(content: Script): Script {
  return complete((turn) => (turn.calls.length > 0 ? toolCalls(turn) : content(turn)));
}

const contextWindow = 200_000;

/** Numbers a test can work out: input is 100 plus a quarter of the characters sent, output a quarter of those
 *  produced, both rounded up; 50 input tokens come from the cache from the second turn on; every turn costs 1 credit. */
function usageOf(turn: Turn): Usage {
  const { conversation, model } = turn;
  const { totalInput, output, cached } = countTokens(turn);
  return {
    tokenUsage: [
      { modelId: model, totalInput, output, ...(cached > 0 && { inputCacheRead: cached }), costInCents: 0.5 },
    ],
    requestCost: { exact: 1 },
    conversationUsageMetadata: {
      contextWindowUsage: Math.min(1, conversation.totalTokens / contextWindow),
      creditsSpent: conversation.creditsSpent,
      warpTokenUsage: {
        [model]: {
          totalTokens: conversation.totalTokens,
          tokenUsageByCategory: { primary_agent: conversation.totalTokens },
        },
      },
      totalInputTokens: totalInput,
    },
  };
}

function countTokens(turn: Turn): { totalInput: number; output: number; cached: number } {
  const { conversation } = turn;
  const inputLength = turn.query.length + turn.results.reduce((sum, result) => sum + result.text.length, 0);
  const totalInput = 100 + Math.ceil(inputLength / 4);
  const output = Math.ceil(turn.outputLength / 4);
  conversation.creditsSpent += 1;
  conversation.totalTokens += totalInput + output;
  return { totalInput, output, cached: turn.isFirst ? 0 : 50 };
}

/** The model of the second category of `charges`: it read 20 tokens and wrote 5. */
const helperModel = 'sandbox-helper';

/** The same numbers as what was charged: the primary agent's, and 20 and 5 tokens of a helper with a key of the user.
 *  The input leaves out what came from the cache. */
export function chargesOf(turn: Turn): Pick<Usage, 'requestCharges'> & {
  conversationUsageMetadata: NonNullable<Usage['conversationUsageMetadata']>;
} {
  const { conversation, model } = turn;
  const { totalInput, output, cached } = countTokens(turn);
  const requestCharges: RequestCharges = {
    usageByCategory: {
      primary_agent: {
        directApi: {
          [model]: {
            tokens: { input: totalInput - cached, output, inputCacheRead: cached },
            cost: { input: 0.25, output: 0.5, cacheRead: 0.125 },
          },
        },
        platformUsageInCents: 0.125,
      },
      summarizer: {
        byok: { [helperModel]: { tokens: { input: 20, output: 5 }, cost: { input: 0.25, output: 0.25 } } },
      },
    },
  };
  conversation.charges = addCharges(conversation.charges, requestCharges);
  return {
    requestCharges,
    conversationUsageMetadata: {
      contextWindowUsage: Math.min(1, conversation.totalTokens / contextWindow),
      creditsSpent: conversation.creditsSpent,
      totalInputTokens: totalInput,
      $unknowns: [rawField(11, rawField(1, 'opaque'))],
      totalCharges: conversation.charges,
    },
  };
}

/** The sum of two trees of numbers. */
function addCharges<Tree extends object>(before: Tree | undefined, more: Tree): Tree {
  const sum: Record<string, unknown> = { ...before };
  for (const [name, value] of Object.entries(more)) {
    const known = sum[name];
    sum[name] =
      typeof value === 'number'
        ? value + (typeof known === 'number' ? known : 0)
        : addCharges(known as object | undefined, value as object);
  }
  return sum as Tree;
}
