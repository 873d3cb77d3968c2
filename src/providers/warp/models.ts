import { z } from 'zod';
import { AppError } from '../../core/errors.ts';
import type { ProviderAccount, ProviderModel } from '../../core/provider.ts';
import { type GraphqlClient, listOf, optional } from './graphql.ts';

const query = `query GetFeatureModelChoices($requestContext: RequestContext!) {
  user(requestContext: $requestContext) {
    __typename
    ... on UserOutput {
      user {
        workspaces {
          featureModelChoice {
            agentMode {
              defaultId
              choices {
                id displayName baseModelName reasoningLevel description disableReason visionSupported provider
                usageMetadata { creditMultiplier }
                contextWindow { max default }
              }
            }
          }
        }
      }
    }
    ... on UserFacingError { error { message } }
  }
}`;

const windowSchema = z.looseObject({ max: optional(z.number()), default: optional(z.number()) });
const choiceSchema = z.looseObject({
  id: z.string().min(1),
  displayName: optional(z.string()),
  baseModelName: optional(z.string()),
  reasoningLevel: optional(z.string()),
  description: optional(z.string()),
  disableReason: optional(z.string()),
  visionSupported: optional(z.boolean()),
  provider: optional(z.string()),
  usageMetadata: optional(z.looseObject({ creditMultiplier: optional(z.number()) })),
  contextWindow: optional(windowSchema),
});
const workspaceSchema = z.looseObject({
  featureModelChoice: z.looseObject({
    agentMode: z.looseObject({ defaultId: optional(z.string()), choices: listOf(choiceSchema) }),
  }),
});
const userSchema = z.looseObject({
  // Whatever the others are like: only the first counts.
  workspaces: z
    .array(z.unknown())
    .transform((all) => all.slice(0, 1))
    .pipe(z.array(workspaceSchema)),
});

/** The models of the account's first workspace. */
export async function listModels(
  client: GraphqlClient,
  account: ProviderAccount,
  signal?: AbortSignal,
): Promise<readonly ProviderModel[]> {
  const operation = 'GetFeatureModelChoices';
  const user = await client.askUser({ account, operation, query, schema: userSchema, signal });
  const workspace = user.workspaces[0];
  if (!workspace) {
    throw new AppError(
      'upstream_protocol',
      'The provider lists no workspace, and so no models, for this account.',
    );
  }
  const { choices, defaultId } = workspace.featureModelChoice.agentMode;
  if (choices.length === 0) {
    throw new AppError('upstream_protocol', 'The provider lists no model that can be read for this account.');
  }
  return choices.map((choice) => toModel(choice, choice.id === defaultId));
}

function toModel(choice: z.infer<typeof choiceSchema>, isDefault: boolean): ProviderModel {
  // The turn asks for no other window, so the default is what it gets.
  const contextWindow = choice.contextWindow?.default || choice.contextWindow?.max;
  const creditMultiplier = choice.usageMetadata?.creditMultiplier;
  const vendor = choice.provider?.toLowerCase();
  return {
    id: choice.id,
    ...(choice.displayName && { displayName: choice.displayName }),
    ...(choice.description && { description: choice.description }),
    ...(contextWindow && { contextWindow }),
    ...(typeof choice.visionSupported === 'boolean' && { hasVision: choice.visionSupported }),
    ...(vendor && vendor !== 'unknown' && { vendor }),
    ...(choice.baseModelName && { baseName: choice.baseModelName }),
    ...(choice.reasoningLevel && { effort: choice.reasoningLevel.toLowerCase() }),
    ...(typeof creditMultiplier === 'number' && { creditMultiplier }),
    ...(isDefault && { isDefault }),
    ...(choice.disableReason && { withheld: withheldFor(choice.disableReason) }),
  };
}

/** An unknown word withholds the model for the moment only: the upstream itself refuses what it does not serve. */
export function withheldFor(disableReason: string): NonNullable<ProviderModel['withheld']> {
  switch (disableReason) {
    case 'ADMIN_DISABLED':
      return { reason: "the workspace's administrator has switched it off", isPassing: false };
    case 'REQUIRES_UPGRADE':
      return { reason: "the account's plan does not include it", isPassing: false };
    case 'OUT_OF_REQUESTS':
      return { reason: 'the account has used up its requests to it', isPassing: true };
    case 'PROVIDER_OUTAGE':
      return { reason: 'its vendor has an outage', isPassing: true };
    default:
      return { reason: `the provider says ${disableReason}`, isPassing: true };
  }
}

/** Names that tools have built in and no Warp account lists. They mean "a good model of yours", so they get the provider's own choice. */
export const standIns: Readonly<Record<string, string>> = {
  'claude-*': 'auto',
  'gpt-*': 'auto',
  'chatgpt-*': 'auto',
  'codex-*': 'auto',
  'o1*': 'auto',
  'o3*': 'auto',
  'o4*': 'auto',
  'gemini-*': 'auto',
  'grok-*': 'auto',
  'deepseek-*': 'auto',
  'qwen*': 'auto',
  'kimi-*': 'auto',
  'glm-*': 'auto',
};
