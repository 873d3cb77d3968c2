import { z } from 'zod';
import { AppError } from '../../core/errors.ts';
import type { Endpoint } from '../../core/protocol.ts';
import { endpointNames, endpoints } from '../../protocols/openai-chat/endpoints/endpoints.ts';
import type { FormBody } from '../../protocols/openai-chat/endpoints/form-data.ts';
import { createEndpointInbound, readEndpointRequest } from '../../protocols/openai-chat/endpoints/inbound.ts';
import { fieldOfOthers } from './decode-turn.ts';
import { answeredBy, type GatewayRoute } from './gateway-http.ts';

const model = z.string().min(1).max(256);

/** Of such a request nothing is read but the model. */
export const endpointRequest = z.looseObject({ model });

/** An endpoint with a default model. */
export const modellessRequest = z.looseObject({ model: model.optional() });

/** The calls beside the dialects: each goes to a provider that has the same. */
export const endpointRoutes: readonly GatewayRoute[] = endpointNames.map(routeOf);

/** Whose request may go up as it came. */
export const endpointPath = new RegExp(
  `^/v1(${endpointNames.map((endpoint) => endpoints[endpoint].path).join('|')})$`,
);

function routeOf(endpoint: Endpoint): GatewayRoute {
  const { path, summary, isForm, defaultModel } = endpoints[endpoint];
  const inbound = createEndpointInbound(endpoint);
  return {
    method: 'POST',
    path: `/v1${path}`,
    summary,
    description:
      'Relayed to a provider that has the same: the request goes up as it came but for the name of the model, and the answer comes ' +
      'back as it is. Another account may answer until its first bytes have come.',
    access: 'clientKey',
    ...(isForm && { bodyType: 'multipart/form-data' as const }),
    body: defaultModel === undefined ? endpointRequest : modellessRequest,
    answers: { 200: { description: "The provider's own answer.", headers: answeredBy } },
    handle({ routes, answerTurn }, request, reply) {
      const { body, heldBody, client } = request;
      const param = fieldOfOthers(client, body);
      if (param !== undefined) {
        throw new AppError(
          'forbidden',
          `A key that is for some models may not name others: leave ${param} out.`,
          {
            param,
          },
        );
      }
      const text = heldBody?.takeText();
      const given = isForm ? { body, text, form: body as FormBody } : { body, text };
      return answerTurn(
        inbound,
        request,
        reply,
        readEndpointRequest(endpoint, given, routes.serving(endpoint)),
      );
    },
  };
}
