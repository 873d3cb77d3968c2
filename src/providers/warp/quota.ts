import { z } from 'zod';
import { AppError } from '../../core/errors.ts';
import type { ProviderAccount, QuotaAnswer } from '../../core/provider.ts';
import { type GraphqlClient, listOf, optional } from './graphql.ts';

const query = `query GetRequestLimitInfo($requestContext: RequestContext!) {
  user(requestContext: $requestContext) {
    __typename
    ... on UserOutput {
      user {
        requestLimitInfo { isUnlimited requestLimit requestsUsedSinceLastRefresh nextRefreshTime }
        bonusGrants { grantType expiration requestCreditsRemaining }
        workspaces { bonusGrantsInfo { grants { grantType expiration requestCreditsRemaining } } }
      }
    }
    ... on UserFacingError { error { message } }
  }
}`;

const grantSchema = z.looseObject({
  grantType: optional(z.string()),
  expiration: optional(z.string()),
  requestCreditsRemaining: optional(z.number()),
});
const grantsSchema = optional(listOf(grantSchema));
const userSchema = z.looseObject({
  requestLimitInfo: z.looseObject({
    isUnlimited: z.boolean(),
    requestLimit: z.number(),
    requestsUsedSinceLastRefresh: z.number(),
    nextRefreshTime: optional(z.string()),
  }),
  bonusGrants: grantsSchema,
  workspaces: optional(
    listOf(z.looseObject({ bonusGrantsInfo: optional(z.looseObject({ grants: grantsSchema })) })),
  ),
});

const availabilityQuery = `query GetAICreditAvailability($requestContext: RequestContext!) {
  user(requestContext: $requestContext) {
    __typename
    ... on UserOutput { user { aiCreditAvailability { available denialReason creditSource } } }
    ... on UserFacingError { error { message } }
  }
}`;

const availabilitySchema = z.looseObject({
  aiCreditAvailability: z.looseObject({
    available: z.boolean(),
    denialReason: optional(z.string()),
  }),
});

/**
 * What the account may still spend, in credits, and whether the server would let a request in: it may, on overage or
 * as one goes, though the allowance is spent, and may not though some is left. Either question may fail.
 */
export async function getQuota(
  client: GraphqlClient,
  account: ProviderAccount,
  now: number,
  signal?: AbortSignal,
): Promise<QuotaAnswer> {
  const [limits, availability] = await Promise.allSettled([
    askLimits(client, account, now, signal),
    askAvailability(client, account, signal),
  ]);
  if (limits.status === 'rejected') {
    // What rejects the credential is the answer, whatever came of the other question.
    const isAboutCredential =
      limits.reason instanceof AppError &&
      ['upstream_unauthorized', 'upstream_refused', 'cancelled'].includes(limits.reason.code);
    if (isAboutCredential || availability.status === 'rejected') throw limits.reason;
    return { isUnlimited: false, ...availability.value };
  }
  if (availability.status === 'rejected') return limits.value;
  const { denialReason } = availability.value;
  return {
    ...limits.value,
    ...availability.value,
    ...(denialReason === 'OUT_OF_CREDITS' ? { remaining: 0 } : {}),
  };
}

async function askAvailability(
  client: GraphqlClient,
  account: ProviderAccount,
  signal: AbortSignal | undefined,
): Promise<Pick<QuotaAnswer, 'isAvailable' | 'denialReason'>> {
  const operation = 'GetAICreditAvailability';
  const question = { account, operation, query: availabilityQuery, schema: availabilitySchema, signal };
  const { available, denialReason } = (await client.askUser(question)).aiCreditAvailability;
  if (available) return { isAvailable: true };
  const word = /^[A-Z][A-Z_]{0,63}$/.exec(denialReason ?? '')?.[0];
  return { isAvailable: false, denialReason: word === undefined || word === 'NONE' ? 'UNKNOWN' : word };
}

/** Grants for other uses than chats and expired ones do not count. */
async function askLimits(
  client: GraphqlClient,
  account: ProviderAccount,
  now: number,
  signal: AbortSignal | undefined,
): Promise<QuotaAnswer> {
  const operation = 'GetRequestLimitInfo';
  const user = await client.askUser({ account, operation, query, schema: userSchema, signal });
  const info = user.requestLimitInfo;
  const resetAt = timeOf(info.nextRefreshTime);
  const reset = resetAt === undefined ? {} : { resetAt: new Date(resetAt) };
  if (info.isUnlimited) return { isUnlimited: true, used: info.requestsUsedSinceLastRefresh, ...reset };

  const grants = [
    ...(user.bonusGrants ?? []),
    ...(user.workspaces ?? []).flatMap((workspace) => workspace.bonusGrantsInfo?.grants ?? []),
  ];
  const granted = grants
    .filter((grant) => grant.grantType === 'ANY' && (timeOf(grant.expiration) ?? Infinity) > now)
    .reduce((sum, grant) => sum + Math.max(0, grant.requestCreditsRemaining ?? 0), 0);
  const left = Math.max(0, info.requestLimit - info.requestsUsedSinceLastRefresh);
  return {
    isUnlimited: false,
    limit: info.requestLimit,
    used: info.requestsUsedSinceLastRefresh,
    remaining: left + granted,
    ...reset,
  };
}

function timeOf(text: string | null | undefined): number | undefined {
  const time = Date.parse(text ?? '');
  return Number.isNaN(time) ? undefined : time;
}
