import { z } from 'zod';
import { AppError } from '../../core/errors.ts';
import { upToFirstProblem } from '../../core/first-problem-only.ts';
import type { ProviderAccount, ProviderHttp } from '../../core/provider.ts';
import { parseJson } from '../../lib/parse-json.ts';
import { classifyFailure } from '../../protocols/warp/classify-failure.ts';

interface GraphqlOptions {
  readonly baseUrl: () => string | Promise<string>;
  readonly http: ProviderHttp;
  readonly userAgent: string;
  readonly authHeaders: (account: ProviderAccount) => Readonly<Record<string, string>>;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

const timeoutMs = 5_000;
/** Errors that are shown of one answer. */
const mostErrors = 10;
/** Every field may be null, and we are none of the clients they describe. */
const variables = { requestContext: { clientContext: {}, osContext: {} } };

const answerSchema = z.looseObject({
  data: z.looseObject({ user: z.unknown() }).nullish(),
  errors: z.array(z.looseObject({ message: z.string().catch('') })).nullish(),
});
const arrivedSchema = z.looseObject({ user: z.unknown() });
const failedSchema = z.looseObject({ error: z.looseObject({ message: z.string().catch('') }) });

export class GraphqlClient {
  readonly #options: GraphqlOptions;

  constructor(options: GraphqlOptions) {
    this.#options = options;
  }

  /**
   * Asks for the user's data and parses what `user.user` holds. Throws AppError `upstream_unauthorized` (401, or the
   * user is gone), `upstream_refused` (403 with words about the account), `upstream_timeout`, `upstream_protocol` (an
   * answer of another shape), or what else a failed request stands for.
   */
  async askUser<Schema extends z.ZodType>({
    account,
    operation,
    query,
    schema,
    signal,
  }: {
    readonly account: ProviderAccount;
    readonly operation: string;
    readonly query: string;
    readonly schema: Schema;
    readonly signal?: AbortSignal | undefined;
  }): Promise<z.infer<Schema>> {
    const { baseUrl, http, userAgent, authHeaders, now } = this.#options;
    const response = await http({
      method: 'POST',
      url: `${await baseUrl()}/graphql/v2?op=${operation}`,
      headers: {
        ...authHeaders(account),
        'content-type': 'application/json',
        accept: 'application/json',
        'user-agent': userAgent,
      },
      body: JSON.stringify({ query, variables, operationName: operation }),
      timeoutMs,
      isRepeatable: true,
      ...(signal && { signal }),
    });
    const json = parseJson(response.body);
    if (response.status !== 200 || json === undefined) {
      throw asSideFailure(classifyFailure(response, now()));
    }
    const answer = answerSchema.safeParse(json, upToFirstProblem);
    if (!answer.success) throw unreadable(operation, answer.error);
    const messages = (answer.data.errors ?? []).slice(0, mostErrors).map((error) => error.message);
    if (messages.length > 0) throw refusal(messages);
    const user = answer.data.data?.user;
    const failed = failedSchema.safeParse(user);
    if (failed.success) throw unavailable([failed.data.error.message]);
    const arrived = arrivedSchema.safeParse(user);
    const parsed = schema.safeParse(arrived.data?.user, upToFirstProblem);
    if (!parsed.success) throw unreadable(operation, parsed.error);
    return parsed.data;
  }
}

/** A question of ours that is refused is no fault of a client's request, or of a model. */
function asSideFailure(error: AppError): AppError {
  if (!['invalid_request', 'too_large', 'model_not_found'].includes(error.code)) return error;
  return new AppError('upstream_protocol', 'The provider does not know this question.', {
    cause: error.cause,
  });
}

function refusal(messages: readonly string[]): AppError {
  if (messages.some((message) => message.includes('User not in context: Not found'))) {
    return new AppError(
      'upstream_unauthorized',
      'The provider does not know this account any more. Replace the account.',
      { cause: new Error(messages.join('; ')) },
    );
  }
  return unavailable(messages);
}

function unavailable(messages: readonly string[]): AppError {
  return new AppError(
    'upstream_unavailable',
    'The provider could not answer about this account. Try again.',
    {
      cause: new Error(messages.join('; ')),
    },
  );
}

function unreadable(operation: string, cause: unknown): AppError {
  return new AppError('upstream_protocol', `The provider's answer to ${operation} cannot be read.`, {
    cause,
  });
}

/** A field that may be absent, or of a shape not known here: then it counts as absent. */
export function optional<Schema extends z.ZodType>(schema: Schema) {
  return schema.nullish().catch(undefined);
}

/** More items than any list of the provider has. */
const mostItems = 2_000;

/** A list without the items that cannot be read. */
export function listOf<Schema extends z.ZodType>(schema: Schema) {
  return z.array(z.unknown()).transform((items) =>
    items.slice(0, mostItems).flatMap((item): z.infer<Schema>[] => {
      const parsed = schema.safeParse(item, upToFirstProblem);
      return parsed.success ? [parsed.data] : [];
    }),
  );
}
