import { z } from 'zod';
import type { QuotaAnswer } from '../../core/provider.ts';
import type { GraphqlClient } from './graphql.ts';

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
  grantType: z.string().nullish(),
  expiration: z.string().nullish(),
  requestCreditsRemaining: z.number().nullish(),
});
const grantsSchema = z.array(grantSchema).nullish();
const userSchema = z.looseObject({
  requestLimitInfo: z.looseObject({
    isUnlimited: z.boolean(),
    requestLimit: z.number(),
    requestsUsedSinceLastRefresh: z.number(),
    nextRefreshTime: z.string().nullish(),
  }),
  bonusGrants: grantsSchema,
  workspaces: z
    .array(z.looseObject({ bonusGrantsInfo: z.looseObject({ grants: grantsSchema }).nullish() }))
    .nullish(),
});

/** What the account may still spend, in credits; grants for other uses than chats and expired ones do not count. */
export async function getQuota(
  client: GraphqlClient,
  bearer: string,
  now: number,
  signal?: AbortSignal,
): Promise<QuotaAnswer> {
  const operation = 'GetRequestLimitInfo';
  const user = await client.askUser({ bearer, operation, query, schema: userSchema, signal });
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
