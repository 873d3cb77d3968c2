import { z } from 'zod';
import { keyWithSecret, shownKey, shownKeys } from '../../core/shown-key.ts';
import { shownSettings } from '../../core/shown-settings.ts';
import { shownTurns, shownTurnWithContent } from '../../core/shown-turn.ts';
import { diskHealth } from '../../pool-api/schema.ts';

/** What the gateway answers, for its document; the end-to-end tests hold real answers against these. */

/** How the configuration file stands. */
export const configStanding = z.object({
  status: z.enum(['ok', 'error']),
  error: z.string().optional(),
  loaded_at: z.iso.datetime(),
});

export const settings = shownSettings;
export {
  explainedTurn,
  shownModels as modelTable,
  shownRoutes as configuredNames,
} from '../../core/shown-models.ts';
export { usageMinutes, usageReport, usageTurns } from '../../core/shown-usage.ts';

export const healthAnswer = z.object({
  status: z.enum(['ok', 'degraded']),
  /** Why it is degraded and what to do, in a sentence or several; absent while it is ok. */
  reason: z.string().optional(),
  sandbox: z.boolean(),
  version: z.string(),
  pool: z.object({
    mode: z.enum(['inside', 'http']),
    /** False while the pool does not answer, or its database does not. */
    reachable: z.boolean(),
    /** False while the pool answers, but not to the key of this gateway: GATEWAY_KEY or POOL_API_KEY is wrong. */
    accepts_key: z.boolean(),
    /** False while the pool can be read and takes no changes, as on a full disk. */
    writable: z.boolean(),
  }),
  /** Providers no connection can be made to from here. */
  unreachable_providers: z.array(z.string()),
  /** `provider/model` of those that fail turn after turn: turns with another candidate pass them over for the moment. */
  open_circuits: z.array(z.string()),
  keep: z.object({
    /** Where conversations and stored responses are now: `memory` too while what KEEP_URL names cannot be opened. */
    store: z.enum(['memory', 'sqlite', 'postgres']),
    /** False while what KEEP_URL names cannot be opened, or its server does not answer. */
    reachable: z.boolean(),
    /** False while nothing can be written there, as on a full disk: what is new is in memory only. Absent otherwise. */
    writable: z.literal(false).optional(),
  }),
  /** Of client keys and usage. While it cannot be reached the gateway goes on with what it knows. */
  database: z.object({ reachable: z.boolean() }),
  /** Turns that wait to be written to the usage ledger, and those that never will be since the start. */
  ledger: z.object({ waiting_turns: z.int(), dropped_turns: z.int() }),
  load: z.object({
    /** New turns are refused with 503 `overloaded`, since the process has more work than it can do. */
    sheds_turns: z.boolean(),
    event_loop_delay_ms: z.int(),
    heap_used_percent: z.int(),
  }),
  ...diskHealth,
  /** Where there is a configuration file. `error`: it was changed and is refused, and what it said before stays in force. */
  config: configStanding.optional(),
  notice: z.string().optional(),
});

export const key = shownKey;
export const keyList = shownKeys;
export { keyWithSecret };

export const turn = shownTurnWithContent;
export const turnList = shownTurns;

export const model = z.object({
  id: z.string(),
  object: z.literal('model'),
  created: z.int(),
  owned_by: z.string(),
  display_name: z.string().optional(),
  alias_of: z.string().optional(),
  description: z.string().optional(),
  context_window: z.int().optional(),
  max_model_len: z.int().optional(),
  max_output_tokens: z.int().optional(),
  input_modalities: z.array(z.enum(['text', 'image'])).optional(),
  reasoning_effort: z.string().optional(),
  reasoning_efforts: z.array(z.string()).optional(),
  credit_multiplier: z.number().optional(),
});

export const modelList = z.object({
  object: z.literal('list'),
  data: z.array(model),
  models: z
    .array(z.unknown())
    .optional()
    .describe('Empty, where `client_version` is sent: the catalogue Codex looks for'),
});

const chatCall = z.discriminatedUnion('type', [
  z.object({
    id: z.string(),
    type: z.literal('function'),
    function: z.object({ name: z.string(), arguments: z.string() }),
  }),
  z.object({
    id: z.string(),
    type: z.literal('custom'),
    custom: z.object({ name: z.string(), input: z.string() }),
  }),
]);

export const chatAnswer = z.object({
  id: z.string(),
  object: z.literal('chat.completion'),
  created: z.int(),
  model: z.string(),
  choices: z.array(
    z.object({
      index: z.int(),
      message: z.object({
        role: z.literal('assistant'),
        content: z.string().nullable(),
        refusal: z.string().nullable(),
        reasoning_content: z.string().optional(),
        annotations: z.array(z.looseObject({ type: z.literal('url_citation') })),
        tool_calls: z.array(chatCall).optional(),
      }),
      logprobs: z.null(),
      finish_reason: z.enum(['stop', 'length', 'tool_calls', 'content_filter']),
    }),
  ),
  usage: z
    .object({
      prompt_tokens: z.int(),
      completion_tokens: z.int(),
      total_tokens: z.int(),
      prompt_tokens_details: z.object({
        cached_tokens: z.int(),
        cache_write_tokens: z.int().optional(),
        audio_tokens: z.int(),
      }),
      completion_tokens_details: z.object({ reasoning_tokens: z.int(), audio_tokens: z.int() }),
    })
    .optional(),
  system_fingerprint: z.string().optional(),
});

export const messagesAnswer = z.object({
  id: z.string(),
  type: z.literal('message'),
  role: z.literal('assistant'),
  model: z.string(),
  content: z.array(
    z.discriminatedUnion('type', [
      z.object({
        type: z.literal('text'),
        text: z.string(),
        citations: z.array(z.looseObject({ type: z.string() })).optional(),
      }),
      z.object({ type: z.literal('thinking'), thinking: z.string(), signature: z.string() }),
      z.object({
        type: z.literal('tool_use'),
        id: z.string(),
        name: z.string(),
        input: z.record(z.string(), z.unknown()),
      }),
    ]),
  ),
  stop_reason: z.enum(['end_turn', 'max_tokens', 'stop_sequence', 'tool_use', 'refusal']),
  stop_sequence: z.string().nullable(),
  usage: z.object({
    input_tokens: z.int(),
    cache_creation_input_tokens: z.int(),
    cache_read_input_tokens: z.int(),
    output_tokens: z.int(),
  }),
});

const outputItem = z.looseObject({
  id: z.string(),
  type: z.enum([
    'message',
    'reasoning',
    'function_call',
    'custom_tool_call',
    'tool_search_call',
    'shell_call',
    'local_shell_call',
    'apply_patch_call',
    'computer_call',
    'compaction',
  ]),
  // A compaction has none.
  status: z.enum(['in_progress', 'completed', 'incomplete']).optional(),
});

const responseUsage = z.object({
  input_tokens: z.int(),
  input_tokens_details: z.object({ cached_tokens: z.int() }),
  output_tokens: z.int(),
  output_tokens_details: z.object({ reasoning_tokens: z.int() }),
  total_tokens: z.int(),
});

export const responseAnswer = z.object({
  id: z.string(),
  object: z.literal('response'),
  created_at: z.int(),
  completed_at: z.int().nullable(),
  status: z.enum(['queued', 'in_progress', 'completed', 'incomplete', 'failed', 'cancelled']),
  background: z.boolean(),
  error: z.object({ code: z.string(), message: z.string() }).nullable(),
  incomplete_details: z.object({ reason: z.string() }).nullable(),
  instructions: z.string().nullable(),
  max_output_tokens: z.int().nullable(),
  max_tool_calls: z.int().nullable(),
  model: z.string(),
  output: z.array(outputItem),
  parallel_tool_calls: z.boolean(),
  previous_response_id: z.string().nullable(),
  prompt_cache_key: z.string().nullable(),
  reasoning: z.object({ effort: z.string().nullable(), summary: z.string().nullable() }),
  safety_identifier: z.string().nullable(),
  service_tier: z.string(),
  store: z.boolean(),
  temperature: z.number(),
  text: z.looseObject({ format: z.looseObject({ type: z.string() }) }),
  tool_choice: z.unknown(),
  tools: z.array(z.looseObject({ type: z.string() })),
  top_logprobs: z.int(),
  top_p: z.number(),
  presence_penalty: z.number(),
  frequency_penalty: z.number(),
  truncation: z.string(),
  usage: responseUsage.nullable(),
  user: z.string().nullable(),
  metadata: z.record(z.string(), z.string()),
});

export const deletedResponse = z.object({
  id: z.string(),
  object: z.literal('response'),
  deleted: z.literal(true),
});
export const inputItems = z.object({
  object: z.literal('list'),
  data: z.array(z.looseObject({ id: z.string(), type: z.string() })),
  first_id: z.string().nullable(),
  last_id: z.string().nullable(),
  has_more: z.boolean(),
});

export const tokenCount = z.object({ input_tokens: z.int() });
export const compactedAnswer = z.object({
  id: z.string(),
  object: z.literal('response.compaction'),
  created_at: z.int(),
  output: z.array(
    z.looseObject({ id: z.string(), type: z.enum(['additional_tools', 'message', 'compaction']) }),
  ),
  usage: responseUsage,
});
export const inputTokenCount = z.object({
  object: z.literal('response.input_tokens'),
  input_tokens: z.int(),
});

/** In the dialect of Anthropic. */
export const messagesError = z.object({
  type: z.literal('error'),
  error: z.object({ type: z.string(), message: z.string() }),
  request_id: z.string(),
});

/** In the dialect of Google's Gemini API: what is generated, or how many tokens a request has. */
export const geminiAnswer = z.object({
  candidates: z
    .array(
      z.object({
        content: z.object({
          role: z.literal('model'),
          parts: z.array(
            z.object({
              text: z.string().optional(),
              thought: z.literal(true).optional(),
              functionCall: z
                .object({ id: z.string(), name: z.string(), args: z.record(z.string(), z.unknown()) })
                .optional(),
              thoughtSignature: z.string().optional(),
            }),
          ),
        }),
        finishReason: z.enum(['STOP', 'MAX_TOKENS', 'SAFETY']).optional(),
        index: z.int(),
        groundingMetadata: z.looseObject({}).optional(),
      }),
    )
    .optional(),
  promptFeedback: z.object({ blockReason: z.string() }).optional(),
  usageMetadata: z
    .object({
      promptTokenCount: z.int(),
      candidatesTokenCount: z.int(),
      totalTokenCount: z.int(),
      cachedContentTokenCount: z.int().optional(),
      thoughtsTokenCount: z.int().optional(),
    })
    .optional(),
  modelVersion: z.string().optional(),
  responseId: z.string().optional(),
  totalTokens: z.int().optional(),
});

export const geminiModel = z.object({
  name: z.string(),
  version: z.string(),
  displayName: z.string(),
  description: z.string().optional(),
  inputTokenLimit: z.int().optional(),
  outputTokenLimit: z.int().optional(),
  supportedGenerationMethods: z.array(z.string()),
  thinking: z.literal(true).optional(),
});

export const geminiModelList = z.object({
  models: z.array(geminiModel),
  nextPageToken: z.string().optional(),
});

export const geminiError = z.object({
  error: z.object({
    code: z.int(),
    message: z.string(),
    status: z.string(),
    details: z.array(z.looseObject({ '@type': z.string() })).optional(),
  }),
});

export const errorAnswer = z.object({
  error: z.object({
    message: z.string(),
    type: z.string(),
    param: z.string().nullable(),
    code: z.string().nullable(),
  }),
});
