// The four GraphQL operations a client needs.
import type { Accounts } from './accounts.ts';
import { selected } from './graphql-query.ts';
import { llmInfo, type SandboxModel } from './models.ts';

/** The root field each known operation has to ask for. */
const fieldOf = new Map([
  ['GetRequestLimitInfo', 'requestLimitInfo'],
  ['GetAICreditAvailability', 'aiCreditAvailability'],
  ['GetFeatureModelChoices', 'featureModelChoice'],
  ['GetUser', 'user'],
]);

/** The JSON answer, always sent with 200: what GraphQL refuses stands in `errors`. */
export function answerOperation(
  { op, body, account, team }: { op: string; body: unknown; account: string; team: string | undefined },
  accounts: Accounts,
  models: readonly SandboxModel[],
): Record<string, unknown> {
  const request = typeof body === 'object' && body !== null ? (body as Record<string, unknown>) : {};
  const { query, operationName, variables } = request;
  const field = fieldOf.get(op);
  if (field === undefined) return failure(`Unknown operation "${op}".`);
  if (operationName !== op) return failure(`operationName "${String(operationName)}" is not op "${op}".`);
  if (typeof query !== 'string' || !query.includes(field))
    return failure(`The query does not ask for ${field}.`);
  if (!hasRequestContext(variables))
    return failure('Variable "$requestContext" of type "RequestContext!" is missing.');
  try {
    const output = userOutput(op, { account, team }, accounts, models);
    return { data: { user: selected(query, op, output) } };
  } catch (error) {
    return failure(error instanceof Error ? error.message : String(error));
  }
}

function failure(message: string): Record<string, unknown> {
  return { data: null, errors: [{ message }] };
}

function hasRequestContext(variables: unknown): boolean {
  if (typeof variables !== 'object' || variables === null) return false;
  const { requestContext } = variables as Record<string, unknown>;
  return typeof requestContext === 'object' && requestContext !== null;
}

function userOutput(
  op: string,
  { account, team }: { account: string; team: string | undefined },
  accounts: Accounts,
  models: readonly SandboxModel[],
): object {
  const named = accounts.teams(account);
  const teams = named.length > 0 ? named : ['sandbox-workspace'];
  switch (op) {
    case 'GetRequestLimitInfo':
      return { user: limits(accounts.billed(account, team), accounts, teams) };
    case 'GetAICreditAvailability':
      return { user: { aiCreditAvailability: availability(accounts.billed(account, team), accounts) } };
    case 'GetFeatureModelChoices':
      return {
        user: { workspaces: teams.map((uid) => ({ uid, featureModelChoice: modelChoice(models) })) },
      };
    default:
      return { apiKeyOwnerType: 'User', principalType: 'USER', user: { llms: modelChoice(models) } };
  }
}

function limits(billed: string, accounts: Accounts, teams: readonly string[]): Record<string, unknown> {
  const { limit, used, nextRefreshTime, isUnlimited } = accounts.credits(billed);
  return {
    requestLimitInfo: {
      isUnlimited,
      requestLimit: limit,
      requestsUsedSinceLastRefresh: used,
      nextRefreshTime: nextRefreshTime.toISOString(),
      requestLimitRefreshDuration: 'MONTHLY',
    },
    bonusGrants: [],
    workspaces: teams.map((uid) => ({ uid, bonusGrantsInfo: { grants: [], spendingInfo: null } })),
  };
}

function availability(account: string, accounts: Accounts): Record<string, unknown> {
  const { available, denialReason, creditSource } = accounts.availability(account);
  return { available, denialReason, creditSource };
}

function modelChoice(models: readonly SandboxModel[]): Record<string, unknown> {
  const choices = models.map(llmInfo);
  const choice = { defaultId: models[0]?.id ?? '', choices, preferredCodexModelId: null };
  return { agentMode: choice, planning: choice, coding: choice, cliAgent: choice, computerUseAgent: choice };
}
