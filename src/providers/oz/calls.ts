import type { OzAPI } from 'oz-agent-sdk';
import { z } from 'zod';
import type { ProviderHttp } from '../../core/provider.ts';
import { readAnswer } from './failures.ts';

/** The vendor's own client for one bearer. */
export type OzClients = (bearer: string) => Promise<OzAPI>;

/** No call of this API waits for a run, so a slow answer is a lost one. */
const timeoutMs = 30_000;

export function createOzClients(options: {
  readonly serverUrl: string;
  readonly http: ProviderHttp;
  readonly userAgent: string;
}): OzClients {
  const fetch = fetchOver(options.http);
  return async (apiKey) => {
    // Loaded where there is such an account: most processes never do.
    const sdk = await import('oz-agent-sdk');
    return new sdk.OzAPI({
      apiKey,
      baseURL: `${options.serverUrl}/api/v1`,
      fetch,
      // What may be asked twice is decided here, by those who know what it does.
      maxRetries: 0,
      timeout: timeoutMs,
      logLevel: 'off',
      defaultHeaders: { 'User-Agent': options.userAgent },
    });
  };
}

/** The SDK's requests over our own HTTP: bounded answers, and no redirect that would carry the key elsewhere. */
function fetchOver(http: ProviderHttp) {
  return async (input: string | URL | Request, init: RequestInit = {}): Promise<Response> => {
    const answer = await http({
      method: init.method === 'POST' ? 'POST' : 'GET',
      url: String(input),
      headers: Object.fromEntries(new Headers(init.headers)),
      ...(typeof init.body === 'string' ? { body: init.body } : {}),
      timeoutMs,
      ...(init.signal ? { signal: init.signal } : {}),
    });
    const headers = new Headers();
    for (const [name, value] of Object.entries(answer.headers)) {
      for (const one of [value ?? []].flat()) headers.append(name, one);
    }
    const body = answer.body.length === 0 ? null : Buffer.from(answer.body);
    return new Response(body, { status: answer.status, headers });
  };
}

// The calls of the documented API that are used here. Those that the SDK does not know yet go through its own `get`.

const runSchema = z.looseObject({
  state: z.string(),
  started_at: z.string().nullish(),
  session_link: z.string().nullish(),
  status_message: z
    .looseObject({
      message: z.string().nullish(),
      error_code: z.string().nullish(),
      retryable: z.boolean().nullish(),
    })
    .nullish(),
  request_usage: z
    .looseObject({
      inference_cost: z.number().nullish(),
      compute_cost: z.number().nullish(),
      platform_cost: z.number().nullish(),
    })
    .nullish(),
});
export type OzRun = z.infer<typeof runSchema>;

const startedSchema = z.looseObject({ run_id: z.string().min(1) });
const listSchema = z.looseObject({ runs: z.array(startedSchema) });

const blockSchema = z.looseObject({ type: z.string(), text: z.string().optional() });
const messageSchema = z.looseObject({ role: z.string(), content: z.array(blockSchema) });
const conversationSchema = z.looseObject({
  steps: z.array(z.looseObject({ messages: z.array(messageSchema) })),
});

const modelsSchema = z.looseObject({
  default_model_id: z.string().nullish(),
  models: z.array(
    z.looseObject({
      id: z.string().min(1),
      display_name: z.string().nullish(),
      description: z.string().nullish(),
      provider: z.string().nullish(),
      reasoning_level: z.string().nullish(),
      vision_supported: z.boolean().nullish(),
      disable_reason: z.string().nullish(),
    }),
  ),
});
export type OzModels = z.infer<typeof modelsSchema>;

/** What a run is begun with: the SDK's own body, and what the vendor has documented since. */
export interface RunBody extends Omit<OzAPI.AgentRunParams, 'config'> {
  readonly config: OzAPI.AmbientAgentConfig & { readonly idle_timeout_minutes: number };
  readonly attachments?: readonly {
    readonly file_name: string;
    readonly mime_type: string;
    readonly data: string;
  }[];
}

/** Answers the id of the run. */
export async function beginRun(oz: OzAPI, body: RunBody): Promise<string> {
  // The SDK's own call still takes the path that this one has replaced.
  return readAnswer(startedSchema, await oz.post('/agent/runs', { body })).run_id;
}

export async function readRun(oz: OzAPI, runId: string, signal: AbortSignal): Promise<OzRun> {
  return readAnswer(runSchema, await oz.agent.runs.retrieve(runId, { signal }));
}

/** The id of the run that was begun under this name; undefined when there is none. */
export async function findRun(oz: OzAPI, name: string): Promise<string | undefined> {
  const query = { name, limit: 1 };
  return readAnswer(listSchema, await oz.get('/agent/runs', { query })).runs[0]?.run_id;
}

export async function cancelRun(oz: OzAPI, runId: string): Promise<void> {
  await oz.agent.runs.cancel(runId);
}

/** What the agent itself has said, message by message; what it delegated to others is not part of it. */
export async function readSaid(oz: OzAPI, runId: string, signal: AbortSignal): Promise<string[]> {
  const path = `/agent/runs/${encodeURIComponent(runId)}/conversation`;
  const { steps } = readAnswer(conversationSchema, await oz.get(path, { signal }));
  return steps
    .flatMap((step) => step.messages)
    .filter((message) => message.role === 'assistant')
    .map((message) => textOf(message.content))
    .filter((text) => text.trim() !== '');
}

export async function readModels(oz: OzAPI, signal: AbortSignal | undefined): Promise<OzModels> {
  return readAnswer(modelsSchema, await oz.get('/agent/models', signal ? { signal } : {}));
}

function textOf(content: z.infer<typeof messageSchema>['content']): string {
  return content.flatMap((block) => (block.type === 'text' && block.text ? [block.text] : [])).join('\n\n');
}
