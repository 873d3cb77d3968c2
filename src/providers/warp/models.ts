import { z } from 'zod';
import { AppError } from '../../core/errors.ts';
import type { ProviderModel } from '../../core/provider.ts';
import type { GraphqlClient } from './graphql.ts';

const query = `query GetFeatureModelChoices($requestContext: RequestContext!) {
  user(requestContext: $requestContext) {
    __typename
    ... on UserOutput {
      user {
        workspaces {
          featureModelChoice {
            agentMode {
              choices { id displayName disableReason visionSupported contextWindow { max default } }
            }
          }
        }
      }
    }
    ... on UserFacingError { error { message } }
  }
}`;

const windowSchema = z.looseObject({ max: z.number().nullish(), default: z.number().nullish() });
const choiceSchema = z.looseObject({
  id: z.string().min(1),
  displayName: z.string().nullish(),
  disableReason: z.string().nullish(),
  visionSupported: z.boolean().nullish(),
  contextWindow: windowSchema.nullish(),
});
const userSchema = z.looseObject({
  workspaces: z.array(
    z.looseObject({
      featureModelChoice: z.looseObject({
        agentMode: z.looseObject({ choices: z.array(choiceSchema) }),
      }),
    }),
  ),
});

/** The models of the account's first workspace, without those its administrator switched off. */
export async function listModels(
  client: GraphqlClient,
  bearer: string,
  signal?: AbortSignal,
): Promise<readonly ProviderModel[]> {
  const operation = 'GetFeatureModelChoices';
  const user = await client.askUser({ bearer, operation, query, schema: userSchema, signal });
  const workspace = user.workspaces[0];
  if (!workspace) {
    throw new AppError(
      'upstream_protocol',
      'The provider lists no workspace, and so no models, for this account.',
    );
  }
  return workspace.featureModelChoice.agentMode.choices
    .filter((choice) => choice.disableReason !== 'ADMIN_DISABLED')
    .map(toModel);
}

function toModel(choice: z.infer<typeof choiceSchema>): ProviderModel {
  // The turn asks for no other window, so the default is what it gets.
  const contextWindow = choice.contextWindow?.default || choice.contextWindow?.max;
  return {
    id: choice.id,
    ...(choice.displayName && { displayName: choice.displayName }),
    ...(contextWindow && { contextWindow }),
    ...(typeof choice.visionSupported === 'boolean' && { hasVision: choice.visionSupported }),
  };
}
