import { AppError, refused } from '../../../core/errors.ts';
import type { DecodedTurn, Endpoint, Inbound } from '../../../core/protocol.ts';
import { isJsonObject } from '../../../lib/parse-json.ts';
import { errorAnswers } from '../../shared/error-answers.ts';
import { unreadChoices, unreadTurn } from '../../shared/request.ts';
import type { ChatOptions } from '../decode-request.ts';
import { openaiChatInbound } from '../inbound.ts';
import { endpoints } from './endpoints.ts';
import { type FormBody, formField } from './form-data.ts';

const options: ChatOptions = { includeUsage: true, customTools: new Set() };

/** Requests for one endpoint, as clients send them. */
export function createEndpointInbound(endpoint: Endpoint): Inbound<ChatOptions> {
  const { streamEncoder, encodeAnswer } = openaiChatInbound;
  return {
    name: endpoint,
    idPrefix: '',
    ...(endpoint === 'completions' ? {} : { passesBytes: true }),
    decode() {
      throw new Error(`Nothing of ${endpoint} is decoded.`);
    },
    streamEncoder,
    encodeAnswer,
    ...errorAnswers(endpoint),
  };
}

/**
 * Of the request nothing is read but the model. `servedBy`: providers that have the endpoint, of those with accounts. Throws AppError
 * `invalid_request`.
 */
export function readEndpointRequest(
  endpoint: Endpoint,
  given: { readonly body: unknown; readonly text: string | undefined; readonly form?: FormBody },
  servedBy: readonly string[],
): DecodedTurn<ChatOptions> {
  const { body, text = '', form } = given;
  if (!form && !isJsonObject(body)) throw new AppError('invalid_request', 'The body must be a JSON object.');
  const fields = form ? { model: formField(form, 'model') } : body;
  const { model, stream, n } = fields as Record<string, unknown>;
  const asked = {
    dialect: endpoint,
    body: text,
    ...(form && { form }),
    isStream: stream === true,
    ...(endpoint === 'completions' && unreadChoices(n)),
  };
  const turn = unreadTurn({ model: model ?? endpoints[endpoint].defaultModel }, asked, options);
  if (!turn) {
    // What no provider here has is not found, whatever is asked of it: so programs look for what an endpoint has.
    if (servedBy.length === 0) throw notServed(endpoint, undefined, servedBy);
    throw refused('model', 'must name a model, of at most 256 characters');
  }
  const translated = () => {
    throw notServed(endpoint, turn.request.model, servedBy);
  };
  return { ...turn, translated };
}

function notServed(endpoint: Endpoint, model: string | undefined, servedBy: readonly string[]): AppError {
  const { path } = endpoints[endpoint];
  const [first] = servedBy;
  const advice =
    first === undefined
      ? 'Add an account of a provider that has it, such as openai.'
      : `Providers that have it here: ${servedBy.join(', ')}; name the model as "${first}/MODEL".`;
  const who = model === undefined ? 'No provider here has' : `The provider that "${model}" leads to has no`;
  return new AppError('model_not_found', `${who} /v1${path}. ${advice}`, { param: 'model' });
}
