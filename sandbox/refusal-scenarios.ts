// Refusals as they are reported to read: those of the front and of edges, of Warp, and of the model's own vendor.
import { accountRefusal, earlyEnd, type Refusal, refusal } from './faults.ts';
import { type PlayableScenario, scenario } from './scenario.ts';

const html = { 'content-type': 'text/html; charset=utf-8' };
const json = { 'content-type': 'application/json' };

const jsonRefusal = (status: number, body: unknown, headers: Record<string, string> = {}): Refusal =>
  refusal(status, JSON.stringify(body), { ...json, ...headers });

const hours = 2 * 60 * 60;
const later = (): string => new Date(Date.now() + hours * 1_000).toUTCString();
const edgePage = '<html><head><title>403 Forbidden</title></head><body><h1>Access denied</h1></body></html>';
const edgeFault = 'upstream unavailable; the account is not touched';
const tryAgain = 'the answer of another account, else an error';

/** A vendor's refusal inside a stream, as internal_error tells of it. */
function vendor(name: string, description: string, clientSees: string, message: string): PlayableScenario {
  const script = earlyEnd({ internalError: { message } });
  return scenario(`internal-${name}`, `init, then internal_error: ${description}`, clientSees, script);
}

export const refusalScenarios: readonly PlayableScenario[] = [
  vendor(
    'context-length',
    'context_length_exceeded',
    'context too long',
    'error, status code: 400, message: {"error":{"message":"This model\'s maximum context length is 200000 tokens.","type":"invalid_request_error","code":"context_length_exceeded"}}',
  ),
  vendor(
    'context-window',
    'context_window_exceeded',
    'context too long',
    'LLM error: context_window_exceeded',
  ),
  vendor(
    'pdf-pages',
    'the vendor’s 400, too many PDF pages',
    'invalid request; no other account is tried',
    'POST "https://api.anthropic.com/v1/messages": 400 Bad Request {"type":"error","error":{"type":"invalid_request_error","message":"messages.0.content.1.pdf.source: A maximum of 100 PDF pages may be provided."}}',
  ),
  vendor(
    'schema',
    'the vendor’s 400, a schema it does not take',
    'invalid request; no other account is tried',
    'error, status code: 400, message: {"error":{"message":"Invalid schema for function \'look\'.","type":"invalid_request_error","param":"tools[0].parameters","code":"invalid_function_parameters"}}',
  ),
  vendor(
    'vendor-403',
    'the vendor’s 403',
    'model unavailable; the account is not touched',
    'POST "https://api.anthropic.com/v1/messages": 403 Forbidden {"type":"error","error":{"type":"permission_error","message":"Request not allowed"}}',
  ),
  vendor(
    'vendor-429',
    'the vendor’s 429',
    'model unavailable; the account is not touched',
    'POST "https://api.anthropic.com/v1/messages": 429 Too Many Requests {"type":"error","error":{"type":"rate_limit_error","message":"Number of requests has exceeded your rate limit"}}',
  ),
  vendor(
    'vendor-529',
    'the vendor’s 529',
    'model unavailable; the account is not touched',
    'POST "https://api.anthropic.com/v1/messages": 529 {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}',
  ),
  vendor(
    'vendor-500',
    'the vendor’s 500',
    'model unavailable; the account is not touched',
    'error, status code: 500, message: {"error":{"message":"The server had an error while processing your request.","type":"server_error"}}',
  ),
  vendor(
    'credits',
    'team has used all available credits, which is Warp’s own team at the vendor',
    'model unavailable; the account is not touched',
    'error, status code: 403, message: The team has used all available credits or reached its monthly spending limit.',
  ),

  scenario(
    '400-model',
    '400: the requested base model is not allowed for your account',
    tryAgain,
    jsonRefusal(400, { error: 'the requested base model (claude-4-opus) is not allowed for your account' }),
  ),
  scenario(
    '400-planning-model',
    '400 in plain text: the requested planning model is not allowed for your account',
    tryAgain,
    refusal(400, 'the requested planning model (o3) is not allowed for your account'),
  ),
  scenario(
    '400-no-model',
    '400: No model available',
    tryAgain,
    jsonRefusal(400, { error: 'No model available' }),
  ),

  scenario('403-page', '403 with a page of an edge', edgeFault, refusal(403, edgePage, html)),
  scenario('403-empty', '403 without a body', edgeFault, refusal(403, '')),
  scenario(
    '403-blocked',
    '403 with JSON: Your account has been blocked from using AI features',
    'upstream refused',
    accountRefusal(403, 'Your account has been blocked from using AI features'),
  ),
  scenario(
    'portal',
    '302 to the page of a captive portal',
    'an upstream error; the account is not touched',
    refusal(302, '', { location: 'http://portal.invalid/login' }),
  ),

  scenario(
    '429-quota',
    '429 with JSON: No remaining quota',
    'quota exhausted',
    jsonRefusal(429, { error: 'No remaining quota' }),
  ),
  scenario(
    '429-requests',
    '429 in plain text: No AI requests remaining',
    'quota exhausted',
    refusal(429, 'No AI requests remaining'),
  ),
  scenario('429-edge', '429 in plain text: Rate exceeded.', 'rate limited', refusal(429, 'Rate exceeded.')),
  scenario(
    '429-json',
    '429 with JSON and no Retry-After',
    'rate limited',
    jsonRefusal(429, { error: 'Too many requests, try again later' }),
  ),
  scenario(
    '429-hours',
    '429 with Retry-After: 7200',
    'rate limited, to be tried again within 60 s',
    refusal(429, 'sandbox: too many requests', { 'retry-after': String(hours) }),
  ),
  {
    ...scenario(
      '429-date',
      '429 with a Retry-After that is a date two hours from now',
      'rate limited, to be tried again within 60 s',
      refusal(429, 'sandbox: too many requests'),
    ),
    get refusal() {
      return refusal(429, 'sandbox: too many requests', { 'retry-after': later() });
    },
  },
  scenario(
    '503-hours',
    '503 with Retry-After: 7200',
    'upstream unavailable',
    refusal(503, 'sandbox: service unavailable', { 'retry-after': String(hours) }),
  ),
];

/** Chat says that the quota is spent, and the usage query fails. */
function withoutFigures(name: string, description: string, graphqlRefusal: Refusal): PlayableScenario {
  return {
    ...scenario(
      name,
      `chat: 429 No remaining quota; GraphQL: ${description}`,
      'quota exhausted',
      jsonRefusal(429, { error: 'No remaining quota' }),
    ),
    graphqlRefusal,
  };
}

/** Those only a key can choose. */
export const keyRefusalScenarios: readonly PlayableScenario[] = [
  withoutFigures('no-figures', '500', refusal(500, 'sandbox: internal server error')),
  withoutFigures('no-figures-page', '403 with a page of an edge', refusal(403, edgePage, html)),
  withoutFigures('no-figures-rate', '429 Rate exceeded.', refusal(429, 'Rate exceeded.')),
  {
    ...scenario(
      'blocked-edge',
      '403 with a page of an edge on every path',
      edgeFault,
      refusal(403, edgePage, html),
    ),
    refusesEverything: true,
  },
];
