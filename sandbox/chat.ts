// POST /ai/multi-agent: decode, choose the scenario, check, answer, remember.
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Accounts } from './accounts.ts';
import type { Connection } from './connections.ts';
import type { Conversation, Conversations } from './conversations.ts';
import { type Refusal, refusal } from './faults.ts';
import type { Pacer } from './pacer.ts';
import { play } from './play.ts';
import { problemsOf, refusalOf } from './request-check.ts';
import { type Choice, outOfCreditsScenario, scenarioForKey, scenarioForModel } from './scenarios.ts';
import { decodeRequest } from './schema.ts';
import { createTaskList } from './tasks.ts';
import { createTurn, readInput } from './turn.ts';
import { type SandboxCounts, type SandboxTurn, teamOf } from './turn-log.ts';
import type { WarpRequest } from './wire.ts';

export interface ChatRoute {
  accounts: Accounts;
  conversations: Conversations;
  pacer: Pacer;
  counts: SandboxCounts;
}

/** Where a turn is answered. */
export interface Exchange {
  readonly response: ServerResponse;
  readonly connection: Connection;
}

const keptLength = 100_000;

export function newRecord(
  request: IncomingMessage,
  bearer: string,
  account: string,
  connectionId: number,
): SandboxTurn {
  // HTTP/2 has method and path among its headers.
  const headers = Object.fromEntries(
    Object.entries(request.headers).filter(([name]) => !name.startsWith(':')),
  );
  return {
    at: new Date(),
    bearer,
    account,
    model: '',
    scenario: '',
    conversationId: '',
    query: '',
    toolResults: [],
    toolNames: [],
    taskCount: 0,
    projectRules: [],
    imageCount: 0,
    userAgent: request.headers['user-agent'],
    teamUid: teamOf(request.headers),
    headers,
    httpVersion: request.httpVersion,
    connectionId,
    status: 0,
    cancelled: false,
    finished: false,
    eventsSent: 0,
    problems: [],
  };
}

/** Answers one chat request. Resolves to the refusal to send, or to undefined when the stream is over. */
export async function answerChat(
  route: ChatRoute,
  record: SandboxTurn,
  body: Buffer,
  exchange: Exchange,
): Promise<Refusal | undefined> {
  const contentType = record.headers['content-type']?.split(';')[0]?.trim();
  if (contentType !== 'application/x-protobuf') {
    return refusal(400, `sandbox: content-type is ${contentType ?? 'absent'}, not application/x-protobuf`);
  }
  const request = decodeOrUndefined(body);
  if (!request) return refusal(400, 'sandbox: the body is no chat request');
  describe(record, request);
  const choice = choose(route.accounts, record);
  record.scenario = choice.scenario.name;
  const reason = refusalOf(request);
  if (reason) {
    record.problems = [reason];
    return refusal(400, `sandbox: ${reason}`);
  }
  const conversationId = request.metadata?.conversationId ?? '';
  const known = route.conversations.find(conversationId, record.account);
  if (conversationId && !known) {
    record.problems = [`conversation ${conversationId} is unknown`];
    return refusal(400, 'sandbox: unknown conversation_id');
  }
  record.problems = [
    ...problemsOf(request, record.headers, known),
    ...teamProblems(route.accounts, record.account, record.teamUid),
  ];
  if (choice.scenario.refusal) return choice.scenario.refusal;
  if (choice.scenario.closesReused && exchange.connection.requests > 1) {
    exchange.connection.closeAsUsedAgain(exchange.response);
    return undefined;
  }
  const conversation = known ?? route.conversations.create(record.account);
  route.conversations.grow(conversation, body.length);
  await stream(route, { record, request, choice, conversation }, exchange);
  return undefined;
}

function decodeOrUndefined(body: Buffer): WarpRequest | undefined {
  try {
    return decodeRequest(body);
  } catch {
    return undefined;
  }
}

function describe(record: SandboxTurn, request: WarpRequest): void {
  const input = readInput(request);
  const context = request.input?.context;
  record.model = request.settings?.modelConfig?.base ?? '';
  record.query = beginningOf(input.query);
  record.toolResults = input.results.map((result) => ({ ...result, text: beginningOf(result.text) }));
  record.toolNames = input.toolNames;
  record.taskCount = request.taskContext?.tasks?.length ?? 0;
  record.projectRules = (context?.projectRules ?? []).flatMap((rules) =>
    (rules.activeRuleFiles ?? []).map((file) => beginningOf(file.content ?? '')),
  );
  record.imageCount = context?.images?.length ?? 0;
}

/** A copy: a piece of a text keeps all of it in memory. */
function beginningOf(text: string): string {
  return text.length <= keptLength ? text : Buffer.from(text.slice(0, keptLength)).toString();
}

function teamProblems(accounts: Accounts, account: string, team: string | undefined): string[] {
  const teams = accounts.teams(account);
  if (team === undefined || teams.length === 0 || teams.includes(team)) return [];
  return [`the account is not in the team ${team}`];
}

function choose(accounts: Accounts, { account, model, teamUid }: SandboxTurn): Choice {
  if (accounts.isSpent(accounts.billed(account, teamUid)))
    return { scenario: outOfCreditsScenario, size: undefined };
  return scenarioForKey(accounts.scenarioWish(account)) ?? scenarioForModel(model);
}

async function stream(
  { accounts, conversations, pacer, counts }: ChatRoute,
  turn: { record: SandboxTurn; request: WarpRequest; choice: Choice; conversation: Conversation },
  { response, connection }: Exchange,
): Promise<void> {
  const { record, request, choice, conversation } = turn;
  const { scenario, size } = choice;
  const tasks = createTaskList(request.taskContext?.tasks ?? []);
  record.conversationId = conversation.id;
  conversation.turnCount += 1;
  conversation.before = [...tasks.snapshot().values()];
  conversation.lastTurn = 'open';
  let isGood = false;

  const sent = (count: number, byteLength: number): void => {
    record.eventsSent += count;
    conversations.grow(conversation, byteLength);
  };
  const end = await play(
    scenario.script(createTurn(request, conversation, { name: scenario.name, size })),
    response,
    {
      framing: scenario.framing,
      pacer,
      connection,
      listener: {
        onEvent(event, byteLength) {
          sent(1, byteLength);
          for (const action of event.clientActions?.actions ?? []) tasks.apply(action);
          if (!event.finished) return;
          record.finished = true;
          counts.finished += 1;
          isGood = Boolean(event.finished.done ?? event.finished.maxTokenLimit);
          if (isGood) accounts.charge(accounts.billed(record.account, record.teamUid), 1);
        },
        onFrames(actions, count, byteLength) {
          sent(count, byteLength);
          for (const action of actions) tasks.apply(action);
        },
      },
    },
  );
  record.status = response.headersSent ? 200 : 0;
  record.cancelled = end === 'client-left' && !record.finished;
  if (record.cancelled) counts.cancelled += 1;
  conversation.after = [...tasks.snapshot().values()];
  conversation.lastTurn = isGood && !record.cancelled ? 'done' : 'failed';
}
